// Training losses of the cells of one or two choices of dataset and model, one line for each weight.

function curves(host, data, study) {
  const runs = [...new Set(data.cells.map((curve) => cellName(study, curve.cell, false)))];
  const weights = new Set(study.weights.keys());
  const picked = [runs[0], ""];
  const colour = (weight) => ramp((0.88 * weight) / Math.max(1, study.weights.length - 1));
  const smooth = Math.max(...data.cells.map((curve) => curve.every));
  const redraws = [];
  const panel = (field, title, label) => {
    const area = el("div", { class: "plot" });
    redraws.push(responsive(area, (width) => {
      const shown = data.cells.filter((curve) => picked.includes(cellName(study, curve.cell, false)) && weights.has(study.cells[curve.cell][2]));
      const lines = [], marks = [];
      for (const curve of shown) {
        const weight = study.cells[curve.cell][2], second = cellName(study, curve.cell, false) !== picked[0];
        lines.push({ colour: colour(weight), dash: second ? "5 3" : null, points: curve.step.map((step, i) => [step, curve[field][i]]) });
        curve.step.forEach((step, i) => curve[field][i] != null && marks.push({
          x: step, y: curve[field][i],
          text: [cellName(study, curve.cell), `step ${number(step)}`, `${title.toLowerCase()} ${number(curve[field][i])} nats a token`],
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
  const items = study.weights.map((weight, key) => ({ key, text: weightName(weight), icon: icon(key) }));
  const names = runs.map((run) => [run, run]);
  host.append(
    el("div", { class: "controls" }, choice("Solid lines", names, runs[0], pick(0)), choice("Dashed lines", [["", "none"], ...names], "", pick(1))),
    el("div", { class: "controls" }, el("span", { class: "name" }, "PLW"), toggles("Weights shown", items, weights, update)),
    el("div", { class: "panels wide" },
      panel("completion_loss", "Completion loss", "nats a completion token"),
      panel("prompt_loss", "Prompt loss", "nats a prompt token"),
      panel("loss", "Weighted loss: not comparable across weights", "weighted nats a token")),
    el("p", { class: "note" }, smooth > 1 ? `Points are means of up to ${smooth} consecutive steps.` : "Every step is shown."));
}
