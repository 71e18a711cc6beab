// Elements made from data. Text becomes text nodes and nothing else: names and answers may hold anything.

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Four significant digits, thousands apart; a dash for what is missing. */
function number(value, digits = 4) {
  if (value == null) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) < 1e-3 ? value.toPrecision(2) : Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
}

/** Prompt weights on an axis, with as many digits as tell them apart: the leading zero costs width and says nothing. */
function weightNames(weights, digits = 2) {
  const names = weights.map((weight) => String(Number(weight.toPrecision(digits))).replace(/^0\./, "."));
  return new Set(names).size === weights.length || digits > 6 ? names : weightNames(weights, digits + 1);
}

/** A labelled drop-down. Options are [value, text] or {group, options}; `change` is called with the value, a string. */
function choice(label, options, value, change) {
  const option = ([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text);
  const entry = (item) =>
    Array.isArray(item) ? option(item) : el("optgroup", { label: item.group }, item.options.map(option));
  const select = el("select", { onchange: (event) => change(event.target.value) }, options.map(entry));
  return el("label", { class: "choice" }, el("span", {}, label), select);
}

/** Buttons that are on or off. Items are {key, text, icon}; `on` is the set of keys that are on, and is changed. */
function toggles(label, items, on, change) {
  const button = (item) =>
    el("button", {
      type: "button", class: "toggle", "aria-pressed": on.has(item.key),
      onclick: (event) => {
        if (!on.delete(item.key)) on.add(item.key);
        event.currentTarget.setAttribute("aria-pressed", on.has(item.key));
        change();
      },
    }, item.icon, item.text);
  return el("div", { class: "toggles", role: "group", "aria-label": label }, items.map(button));
}
