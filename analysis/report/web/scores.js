// Aggregates against the weight, with intervals.

function scores(host, data, study) {
  const choiceOf = { kind: data.kinds.at(-1), group: "" };
  const plain = (group) => group.replaceAll("_", " ");
  const area = el("div", { class: "plot" }), note = el("p", { class: "note" });
  const shown = () => {
    const model = filter.model < 0 ? "" : study.models[filter.model];
    return data.series.filter((series) => series.kind === choiceOf.kind && series.group === choiceOf.group &&
      series.model === model && filter.datasets.has(series.dataset) &&
      (series.further < 0 || filter.series.has(series.further)));
  };
  const redraw = responsive(area, (width) => {
    const lines = [], bars = [], marks = [];
    for (const series of shown()) {
      const dataset = study.datasets[series.dataset], apart = 0.007 * (series.dataset - (study.datasets.length - 1) / 2);
      const further = series.further >= 0, known = series.points.map((point) => point[1]);
      const dash = further ? seriesDash(series.further) : null, of = further ? [study.series[series.further]] : [];
      if (series.curve) {
        const [c0, c1, c2] = series.curve, from = Math.min(...known), to = Math.max(...known);
        const steps = Array.from({ length: 81 }, (_, i) => from + ((to - from) * i) / 80);
        lines.push({ colour: dataset.colour, dash, points: steps.map((w) => [w, c0 + c1 * w + c2 * w * w]) });
      } else if (known.length > 1) {
        lines.push({ colour: dataset.colour, dash, points: series.points.map((point) => [point[1], point[2]]) });
      }
      for (const [weight, place, value, low, high, cells] of series.points) {
        const x = place + apart;
        bars.push({ x, low, high, colour: dataset.colour });
        marks.push({
          x, y: value, colour: dataset.colour, shape: dataset.shape, size: 4.5, hollow: further,
          text: [`${dataset.name} · PLW ${weight}`, ...of, `${choiceOf.kind} aggregate ${number(value)}`,
            low == null ? "no interval: one score" : `${number(low)} to ${number(high)} (${series.bars})`,
            `${cells} ${cells === 1 ? "cell" : "cells"}`],
        });
      }
    }
    return chart(width, {
      name: "Aggregates", height: Math.round(Math.max(260, Math.min(440, width * 0.55))), x: weightAxis(study),
      y: { label: `${choiceOf.kind} aggregate (0–1)` }, lines, bars, marks,
    });
  });
  const update = () => {
    const series = shown();
    const bars = [...new Set(series.map((one) => one.bars))].map((text) => `Bars: ${text}.`);
    note.textContent = series.length ? bars.join(" ") : "No complete cell of what is chosen.";
    redraw();
  };
  const set = (name) => (value) => { choiceOf[name] = value; update(); };
  host.append(el("div", { class: "controls" }, choice("Aggregate", data.kinds.map((kind) => [kind, kind]), choiceOf.kind, set("kind")),
    data.groups.length ? choice("Benchmarks", [["", "all"], ...data.groups.map((group) => [group, plain(group)])], "", set("group")) : null),
    area, note);
  onFilter(update);
}
