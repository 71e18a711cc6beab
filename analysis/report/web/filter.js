// Which datasets and which base model the charts show; the bar that sets it is their legend too.

const filter = { datasets: new Set(), model: -1, listeners: [] };

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

function mountFilter(host, study) {
  study.datasets.forEach((_, index) => filter.datasets.add(index));
  const items = study.datasets.map((dataset, key) => ({ key, text: dataset.name, icon: swatch(dataset) }));
  host.append(toggles("Datasets shown", items, filter.datasets, changed));
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
