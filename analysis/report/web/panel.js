// Small charts of one measurement by weight: a dot for each cell, a line for each dataset.

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length / 2;
  return Number.isInteger(half) ? (sorted[half - 1] + sorted[half]) / 2 : sorted[Math.floor(half)];
}

/** panel: title, label, points [cell, value, standard error, n]; `middle` makes one number of several. */
function weightPanel(panel, study, middle) {
  const area = el("div", { class: "plot" });
  const redraw = responsive(area, (width) => {
    const points = panel.points.filter((point) => point[1] != null && chosen(study.cells[point[0]]));
    const lines = [...filter.datasets].map((dataset) => {
      const byWeight = study.weights.map((_, weight) => points.filter((point) => {
        const cell = study.cells[point[0]];
        return cell[0] === dataset && cell[2] === weight;
      }).map((point) => point[1]));
      return {
        colour: study.datasets[dataset].colour,
        points: byWeight.flatMap((values, weight) => (values.length ? [[study.places[weight], middle(values)]] : [])),
      };
    });
    const marks = points.map(([cell, value, error, n]) => {
      const [dataset, model, weight] = study.cells[cell], { colour, shape } = study.datasets[dataset];
      return {
        x: study.places[weight], y: value, colour, shape, size: 2.8, faint: true, hollow: model % 2 > 0,
        text: [cellName(study, cell), `${panel.label}: ${number(value)}`,
          `standard error ${number(error)}`, `n ${n == null ? "not known" : number(n)}`],
      };
    });
    return chart(width, { name: panel.title, height: 210, x: weightAxis(study, "prompt weight (PLW)"), y: { label: panel.label }, lines, marks });
  });
  onFilter(redraw);
  return el("div", { class: "panel" }, el("h3", {}, panel.title), area);
}
