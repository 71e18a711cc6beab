// A chart: axes, lines, intervals and marks drawn as SVG at the width there is; its marks tell their values.

const turned = (x, y, angle) => [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle)];

/** A plus with thick arms, turned by an angle. */
function cross(r, angle = 0) {
  const arm = 1.3 * r, half = 0.45 * r;
  const corner = [[-half, -arm], [half, -arm], [half, -half]];
  const round = [0, 1, 2, 3].flatMap((quarter) => corner.map(([x, y]) => turned(x, y, (quarter * Math.PI) / 2 + angle)));
  return `M${round.join("L")}z`;
}

/** The marks of datasets, by matplotlib's letters, as figures for print have them. */
const SHAPES = {
  o: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  s: (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  "^": (r) => `M0 ${-1.25 * r}L${1.15 * r} ${0.9 * r}H${-1.15 * r}z`,
  D: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`,
  v: (r) => `M0 ${1.25 * r}L${1.15 * r} ${-0.9 * r}H${-1.15 * r}z`,
  P: (r) => cross(r),
  X: (r) => cross(r, Math.PI / 4),
  "*": (r) => `M${Array.from({ length: 10 }, (_, i) => turned(0, (i % 2 ? -0.6 : -1.5) * r, (i * Math.PI) / 5)).join("L")}z`,
};

/** The mark of a dataset, so that a chart can be read without its colours. */
const shapePath = (shape, radius) => (SHAPES[shape] ?? SHAPES.o)(radius);

/** Black is for white paper only. */
const ink = (colour) => (colour === "#000000" ? "currentColor" : colour);

/** Dark blue over green to yellow (viridis), for 0 to 1. */
function ramp(share) {
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const from = Math.min(Math.floor(place), stops.length - 2);
  const mixed = stops[from].map((value, i) => Math.round(value + (stops[from + 1][i] - value) * (place - from)));
  return `rgb(${mixed.join(",")})`;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Colours for lines in an order: those of `ramp` that stand out from the paper. */
const lineRamp = (share) => ramp(dark.matches ? 0.25 + 0.75 * share : 0.88 * share);

/** Round numbers from low to high, about so many. */
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/** The range of the values with some air; around a single value, some room. */
function extent(values, air = 0.06) {
  const low = Math.min(...values), high = Math.max(...values);
  const pad = (high - low || Math.abs(high) || 1) * air;
  return [low - pad, high + pad];
}

/** Draw into a host now and whenever its width or the colour scheme changes; returns a function that draws anew. */
function responsive(host, draw) {
  let width = 0;
  const redraw = () => { if (width) host.replaceChildren(draw(width)); };
  new ResizeObserver(() => {
    const now = Math.floor(host.clientWidth);
    if (now && now !== width) { width = now; redraw(); }
  }).observe(host);
  dark.addEventListener("change", redraw);
  return redraw;
}

/**
 * Let a person find the marks of a drawing: by pointer the nearest within `reach`, by keyboard the arrows.
 * Marks are {px, py, text}, text being the lines of the tip.
 */
function explore(root, marks, reach = 32) {
  const order = [...marks].sort((a, b) => a.px - b.px || a.py - b.py);
  const ring = svg("circle", { class: "ring", r: 7, visibility: "hidden" });
  let at = -1;
  root.append(ring);
  const show = (mark) => {
    at = order.indexOf(mark);
    ring.setAttribute("cx", mark.px);
    ring.setAttribute("cy", mark.py);
    ring.setAttribute("visibility", "visible");
    const box = root.getBoundingClientRect();
    showTip(mark.text, box.left + mark.px, box.top + mark.py);
  };
  const leave = () => { ring.setAttribute("visibility", "hidden"); hideTip(); };
  const point = (event) => {
    const box = root.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, least = reach;
    for (const mark of marks) {
      const distance = Math.hypot(mark.px - x, mark.py - y);
      if (distance < least) { best = mark; least = distance; }
    }
    if (best) show(best); else leave();
  };
  root.addEventListener("pointermove", point);
  root.addEventListener("pointerdown", point);
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const last = order.length - 1;
    const moves = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last };
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    show(order[Math.max(0, Math.min(last, moves[event.key]))]);
  });
}

/** The x axis of prompt weights: places are w_p, labels the weights themselves. */
const weightAxis = (study, label = "prompt weight (PLW), placed at w_p = PLW^0.301") => ({
  label, domain: [-0.025, 1.025], ticks: weightNames(study.weights).map((name, i) => [study.places[i], name]),
});

/**
 * The drawing of one chart.
 * spec: name, height, x {label, domain, ticks?}, y {label, domain?}, lines [{points, colour, dash?, faint?}],
 * bars [{x, low, high, colour}], marks [{x, y, text, and to be seen: colour, shape, size, faint?, hollow?}].
 */
function chart(width, spec) {
  const height = spec.height, { lines = [], bars = [], marks = [] } = spec;
  const left = 54, right = width - 12, top = 10, bottom = height - 42;
  const values = [...marks.map((mark) => mark.y), ...bars.flatMap((bar) => [bar.low, bar.high]),
    ...lines.flatMap((line) => line.points.map((point) => point[1]))].filter((value) => value != null);
  const [low, high] = spec.y.domain ?? (values.length ? extent(values) : [0, 1]);
  const [from, to] = spec.x.domain;
  const x = (value) => left + ((value - from) / (to - from)) * (right - left);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  const root = svg("svg", {
    width, height, class: "chart", tabindex: 0, role: "group",
    "aria-label": `${spec.name}: chart of ${marks.length} points; the arrow keys go through them`,
  });
  for (const value of ticks(low, high, Math.max(3, Math.round(height / 60)))) {
    root.append(svg("line", { class: "rule", x1: left, x2: right, y1: y(value), y2: y(value) }),
      svg("text", { class: "tick", x: left - 7, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  let reached = -Infinity;
  for (const [value, name] of spec.x.ticks ?? ticks(from, to, Math.max(3, Math.round(width / 110))).map((v) => [v, number(v)])) {
    if (value < from || value > to) continue;
    root.append(svg("line", { class: "axis", x1: x(value), x2: x(value), y1: bottom, y2: bottom + 4 }));
    if (x(value) - reached < 10 + 6.2 * name.length) continue;
    reached = x(value);
    root.append(svg("text", { class: "tick", x: x(value), y: bottom + 17, "text-anchor": "middle" }, name));
  }
  root.append(
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    svg("text", { class: "label", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, spec.x.label),
    svg("text", { class: "label", transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, spec.y.label));
  for (const line of lines) {
    const path = line.points.map(([a, b], i) => (b == null ? "" : `${i && line.points[i - 1][1] != null ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`));
    root.append(svg("path", {
      d: path.join(""), stroke: ink(line.colour), class: line.faint ? "line faint" : "line", "stroke-dasharray": line.dash,
    }));
  }
  for (const bar of bars) {
    if (bar.low == null || bar.high == null) continue;
    const at = x(bar.x), a = y(bar.low), b = y(bar.high);
    root.append(svg("path", { class: "bar", stroke: ink(bar.colour), d: `M${at} ${a}V${b}M${at - 3} ${a}h6M${at - 3} ${b}h6` }));
  }
  for (const mark of marks) {
    [mark.px, mark.py] = [x(mark.x), y(mark.y)];
    if (mark.size) root.append(svg("path", {
      d: shapePath(mark.shape, mark.size), class: mark.faint ? "mark faint" : "mark",
      fill: mark.hollow ? "none" : ink(mark.colour), stroke: mark.hollow ? ink(mark.colour) : null,
      transform: `translate(${mark.px.toFixed(1)} ${mark.py.toFixed(1)})`,
    }));
  }
  explore(root, marks);
  return root;
}
