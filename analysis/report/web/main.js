// Draws every widget from the page's data.

const DRAW = { grid, scores, benchmarks, mechanism, curves, surface, generations };

const page = JSON.parse(document.getElementById("page-data").textContent);
mountFilter(document.getElementById("filter"), page.study);
for (const host of document.querySelectorAll("[data-widget]")) {
  DRAW[host.dataset.widget](host, page.widgets[host.dataset.widget], page.study);
}
