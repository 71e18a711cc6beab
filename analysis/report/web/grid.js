// The grid and its holes: a table of squares coloured by state; the chosen one tells its stages and errors.

const STATES = {
  complete: ["●", "every benchmark has its score"], partial: ["◐", "some benchmarks lack a score"],
  running: ["…", "a stage was running"], failed: ["✕", "a stage failed"], missing: ["○", "no score"],
  none: ["–", "not of the grid"],
};

function grid(host, data, study) {
  const detail = el("div", { class: "detail", "aria-live": "polite" });
  const used = new Set(data.rows.flatMap((row) => row.points.map((point) => point.state)));
  const legend = el("p", { class: "legend" }, Object.entries(STATES).filter(([state]) => used.has(state)).map(([state, [sign, words]]) =>
    el("span", {}, el("i", { class: `square ${state}`, "aria-hidden": true }, sign), `${state}: ${words}`)));
  const lines = (row, index) => {
    const point = row.points[index];
    const failed = point.stages.filter((stage) => stage[4]);
    return [
      [study.datasets[row.dataset].name, study.models[row.model], `PLW ${study.weights[index]}`, row.rest].filter(Boolean).join(" · "),
      `${point.state}: ${point.stages.length ? data.benchmarks - point.lacks.length : 0} of ${data.benchmarks} benchmarks`,
      ...failed.map((stage) => `${stage[0]} failed: ${stage[4].slice(0, 160)}`),
    ];
  };
  const tell = (row, index) => {
    const point = row.points[index];
    const stage = ([name, status, seconds, attempts, error]) =>
      el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "text" }, status), el("td", {}, seconds == null ? "–" : `${number(seconds, 3)} s`),
        el("td", {}, String(attempts)), el("td", { class: "long" }, error ?? ""));
    const head = ["stage", "state", "time", "attempts", "error"].map((name) => el("th", { scope: "col" }, name));
    detail.replaceChildren(el("b", {}, lines(row, index)[0]),
      point.lacks.length ? el("p", {}, `Lacks ${point.lacks.join(", ")}.`) : "",
      point.stages.length ? el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, point.stages.map(stage))))
        : el("p", {}, "Not begun: the registry has no such cell."));
  };
  const square = (row, index) => {
    const point = row.points[index];
    const show = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      showTip(lines(row, index), box.right, box.bottom - 12);
    };
    return el("button", {
      type: "button", class: `square ${point.state}`, tabindex: -1, "aria-label": lines(row, index).join(", "),
      onpointerenter: show, onpointerleave: hideTip, onfocus: show, onblur: hideTip, onclick: () => tell(row, index),
    }, STATES[point.state][0]);
  };
  const body = el("tbody");
  body.addEventListener("keydown", (event) => {
    const rows = [...body.rows].map((row) => [...row.querySelectorAll("button")]);
    const r = rows.findIndex((row) => row.includes(event.target)), c = rows[r]?.indexOf(event.target);
    const to = { ArrowRight: [r, c + 1], ArrowLeft: [r, c - 1], ArrowDown: [r + 1, c], ArrowUp: [r - 1, c] }[event.key];
    const next = to && rows[to[0]]?.[to[1]];
    if (!to) return;
    event.preventDefault();
    if (next) { event.target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  });
  const names = weightNames(study.weights), upright = names.some((name) => name.length > 3);
  const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "PLW"),
    names.map((name) => el("th", { scope: "col", class: upright ? "upright" : "over" }, name))));
  host.append(legend, el("div", { class: "beside" }, el("div", { class: "scroll" }, el("table", { class: "grid" }, head, body)), detail));
  onFilter(() => {
    const rows = data.rows.filter((row) => chosen([row.dataset, row.model]));
    const name = (row) => [study.datasets[row.dataset].name, study.models[row.model], row.rest].filter(Boolean).join(" · ");
    body.replaceChildren(...rows.map((row) => el("tr", {}, el("th", { scope: "row" }, swatch(study.datasets[row.dataset]), name(row)),
      row.points.map((_, index) => el("td", {}, square(row, index))))));
    const first = body.querySelector("button");
    if (first) first.tabIndex = 0;
  });
}
