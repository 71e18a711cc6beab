// Training losses of the cells of one or two choices of dataset and model, one line for each weight.

/** Centred moving means of the known values; missing ones stay missing. */
function smoothed(values, window) {
  const half = (window - 1) / 2;
  return values.map((value, i) => (value == null ? null : mean(values.slice(Math.max(0, i - half), i + half + 1).filter((near) => near != null))));
}

function curves(host, data, study) {
  const runs = [...new Set(data.cells.map((curve) => cellName(study, curve.cell, false)))];
  const weights = new Set(study.weights.keys());
  const picked = [runs[0], ""];
  let window = 5;
  const colour = (weight) => lineRamp(weight / Math.max(1, study.weights.length - 1));
  const every = Math.max(...data.cells.map((curve) => curve.every));
  const redraws = [];
  const panel = (field, title, label) => {
    const area = el("div", { class: "plot" });
    redraws.push(responsive(area, (width) => {
      const shown = data.cells.filter((curve) => picked.includes(cellName(study, curve.cell, false)) && weights.has(study.cells[curve.cell][2]));
      const lines = [], marks = [];
      for (const curve of shown) {
        const values = smoothed(curve[field], window);
        const weight = study.cells[curve.cell][2], second = cellName(study, curve.cell, false) !== picked[0];
        lines.push({ colour: colour(weight), dash: second ? "5 3" : null, points: curve.step.map((step, i) => [step, values[i]]) });
        curve.step.forEach((step, i) => values[i] != null && marks.push({
          x: step, y: values[i],
          text: [cellName(study, curve.cell), `step ${number(step)}`, `${title.toLowerCase()} ${number(values[i])} nats a token`],
        }));
      }
      const last = Math.max(1, ...shown.flatMap((curve) => curve.step));
      return chart(width, { name: title, height: 250, x: { label: "optimizer step", domain: [0, last] }, y: { label }, lines, marks });
    }));
    return el("div", { class: "panel" }, el("h3", {}, title), area);
  };
  const update = () => redraws.forEach((redraw) => redraw());
  const pick = (place) => (value) => { picked[place] = value; update(); };
  const icon = (weight) => svg("svg", { class: "swatch", viewBox: "-7 -7 14 14", "aria-hidden": true }, svg("path", { d: "M-6 0H6", stroke: colour(weight), "stroke-width": 4 }));
  const items = weightNames(study.weights).map((text, key) => ({ key, text, icon: icon(key) }));
  const names = runs.map((run) => [run, run]);
  host.append(
    el("div", { class: "controls" }, choice("Solid lines", names, runs[0], pick(0)), choice("Dashed lines", [["", "none"], ...names], "", pick(1)),
      choice("Smoothing", [[1, "none"], [5, "5 points"], [15, "15 points"]], window, (value) => { window = Number(value); update(); })),
    el("div", { class: "controls" }, el("span", { class: "name" }, "PLW"), toggles("Weights shown", items, weights, update)),
    el("div", { class: "panels wide" },
      panel("completion_loss", "Completion loss", "nats a completion token"),
      panel("prompt_loss", "Prompt loss", "nats a prompt token"),
      panel("loss", "Weighted loss: not comparable across weights", "weighted nats a token")),
    el("p", { class: "note" }, every > 1 ? `A point is the mean of up to ${every} consecutive steps.` : "A point is one step; smoothing takes the mean of those around it."));
}
