// The fitted score over weight and generation ratio: a heat map that tells value and standard error.

function surface(host, data) {
  let at = 0;
  const area = el("div", { class: "plot" });
  const redraw = responsive(area, (width) => heatMap(width, data[at]));
  const pick = (value) => { at = Number(value); redraw(); };
  if (data.length > 1) host.append(el("div", { class: "controls" }, choice("Aggregate", data.map((one, i) => [i, one.title]), 0, pick)));
  host.append(area);
}

/** Edges halfway between the centres. */
const edges = (centres) => [centres[0], ...centres.slice(1).map((value, i) => (value + centres[i]) / 2), centres.at(-1)];

function heatMap(width, { title, weights, ratios, exponent, weight_ticks, ratio_ticks, values, se }) {
  const height = Math.round(Math.max(280, Math.min(460, width * 0.6)));
  const left = 54, right = width - 12, top = 40, bottom = height - 42;
  const known = values.flat().filter((value) => value != null), low = Math.min(...known), high = Math.max(...known);
  const scale = (list, from, to) => (value) => from + ((value - list[0]) / (list.at(-1) - list[0] || 1)) * (to - from);
  // The weights' axis is w_p, a power of them, the ratios' their logarithm.
  const place = (weight) => weight ** exponent;
  const places = weights.map(place), logs = ratios.map(Math.log);
  const x = scale(places, left, right), y = scale(logs, bottom, top);
  const shade = (value) => ramp((value - low) / (high - low || 1));
  const root = svg("svg", { width, height, class: "chart", tabindex: 0, role: "group", "aria-label": `${title}: heat map; the arrow keys go through it` });
  const xs = edges(places).map(x), ys = edges(logs).map(y), marks = [];
  ratios.forEach((ratio, row) => weights.forEach((weight, column) => {
    const value = values[row][column];
    if (value == null) return;
    root.append(svg("rect", { x: xs[column], y: ys[row + 1], width: xs[column + 1] - xs[column] + 0.6, height: ys[row] - ys[row + 1] + 0.6, fill: shade(value) }));
    marks.push({ px: x(places[column]), py: y(logs[row]), text: [title, `PLW ${number(weight)}, R_g ${number(ratio)}`, `score ${number(value)}`, `standard error ${number(se[row][column])}`] });
  }));
  for (const value of weight_ticks) root.append(svg("text", { class: "tick", x: x(place(value)), y: bottom + 17, "text-anchor": "middle" }, number(value)));
  for (const value of ratio_ticks) root.append(svg("text", { class: "tick", x: left - 7, y: y(Math.log(value)) + 4, "text-anchor": "end" }, number(value)));
  for (let i = 0; i < 40; i++) root.append(svg("rect", { x: left + 60 + i * 3, y: 10, width: 3.4, height: 10, fill: ramp(i / 39) }));
  root.append(
    svg("text", { class: "tick", x: left + 54, y: 19, "text-anchor": "end" }, number(low, 3)), svg("text", { class: "tick", x: left + 186, y: 19 }, `${number(high, 3)} fitted score`),
    svg("text", { class: "label", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, "prompt weight (PLW)"),
    svg("text", { class: "label", transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "generation ratio R_g"));
  explore(root, marks, Infinity);
  return root;
}
