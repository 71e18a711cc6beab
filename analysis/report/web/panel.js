// Small charts of one measurement by weight: a dot for each cell, a line for each dataset.

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length / 2;
  return Number.isInteger(half) ? (sorted[half - 1] + sorted[half]) / 2 : sorted[Math.floor(half)];
}

/** The lines and marks of further series, which are means over base models: [series, -, dataset, points]. */
function furtherSeries(panel, study) {
  const seen = (panel.further ?? []).filter(([series, , dataset]) =>
    filter.series.has(series) && filter.datasets.has(dataset) && filter.model < 0);
  const lines = seen.map(([series, , dataset, points]) => ({
    colour: study.datasets[dataset].colour, dash: seriesDash(series), points: points.map((point) => [point[1], point[2]]),
  }));
  const marks = seen.flatMap(([series, , dataset, points]) => points.map(([weight, place, value, low, high, scores]) => ({
    x: place, y: value, colour: study.datasets[dataset].colour, shape: study.datasets[dataset].shape, size: 3.4, hollow: true,
    text: [`${study.datasets[dataset].name} · PLW ${weight}`, study.series[series], `${panel.label}: ${number(value)}`,
      `mean of ${scores} ${scores === 1 ? "score" : "scores"}, ${number(low)} to ${number(high)}`],
  })));
  return [lines, marks];
}

/** panel: title, label, points [cell, value, standard error, n], perhaps further; `middle` makes one number of several. */
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
    const [moreLines, moreMarks] = furtherSeries(panel, study);
    return chart(width, {
      name: panel.title, height: 210, x: weightAxis(study, "prompt weight (PLW)"), y: { label: panel.label },
      lines: [...lines, ...moreLines], marks: [...marks, ...moreMarks],
    });
  });
  onFilter(redraw);
  return el("div", { class: "panel" }, el("h3", {}, panel.title), area);
}
