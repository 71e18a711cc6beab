// Which datasets, which base model and which further series the charts show; the bar that sets it is their legend too.

const filter = { datasets: new Set(), model: -1, series: new Set(), listeners: [] };

/** Call back now and whenever the choice changes. */
function onFilter(listener) {
  filter.listeners.push(listener);
  listener();
}

const changed = () => filter.listeners.forEach((listener) => listener());

/** Whether a cell [dataset, model, ...] is among those chosen. */
const chosen = ([dataset, model]) => filter.datasets.has(dataset) && (filter.model < 0 || filter.model === model);

const swatch = ({ colour, shape }) =>
  svg("svg", { class: "swatch", viewBox: "-7 -7 14 14", "aria-hidden": true }, svg("path", { d: shapePath(shape, 5), fill: ink(colour) }));

/** How the lines of a further series are broken, in turn; those of what the report rests on are whole. */
const seriesDash = (index) => ["6 4", "1.5 3", "9 3 1.5 3", "3 2"][index % 4];

const dashed = (index) =>
  svg("svg", { class: "swatch", viewBox: "-7 -7 14 14", "aria-hidden": true },
    svg("path", { d: "M-7 0h14", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": seriesDash(index) }));

function mountFilter(host, study) {
  study.datasets.forEach((_, index) => filter.datasets.add(index));
  const items = study.datasets.map((dataset, key) => ({ key, text: dataset.name, icon: swatch(dataset) }));
  host.append(toggles("Datasets shown", items, filter.datasets, changed));
  if (study.series.length) {
    study.series.forEach((_, index) => filter.series.add(index));
    const further = study.series.map((text, key) => ({ key, text, icon: dashed(key) }));
    host.append(toggles("Further series shown", further, filter.series, changed));
  }
  if (study.models.length > 1) {
    const models = [[-1, "all"], ...study.models.map((name, index) => [index, name])];
    host.append(choice("Base model", models, -1, (value) => { filter.model = Number(value); changed(); }));
  }
}

/** A cell in words, without its weight where `weight` is off. */
function cellName(study, index, weight = true) {
  const [dataset, model, at, rest] = study.cells[index];
  const words = [study.datasets[dataset].name, study.models[model], weight ? `PLW ${study.weights[at]}` : "", rest];
  return words.filter(Boolean).join(" · ");
}
