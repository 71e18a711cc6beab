// Two cells' answers to the same prompts, side by side, with what the judge said of each.

const PAGE = 8;

/** Which words of each text the other lacks, by the longest common subsequence; long texts are left unmarked. */
function differing(left, right) {
  const a = left.split(/(\s+)/), b = right.split(/(\s+)/);
  if (a.length * b.length > 1e6) return [a.map((word) => [word, false]), b.map((word) => [word, false])];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--)
    common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const marked = [[], []];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { marked[0].push([a[i++], false]); marked[1].push([b[j++], false]); }
    else if (j === b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) marked[0].push([a[i++], true]);
    else marked[1].push([b[j++], true]);
  }
  return marked;
}

function generations(host, data, study) {
  const state = { set: 0, cells: [], only: "all", words: "", page: 0 };
  const area = el("div", { class: "pairs" }), controls = el("div", { class: "controls" }), bar = el("div", { class: "controls pager" });
  const set = () => data.sets[state.set];
  const judges = () => Object.keys(set().verdicts);
  const points = (cell, prompt) => judges().map((judge) => set().verdicts[judge][cell]?.[prompt]?.[0]).find((value) => value != null);
  const answer = (cell, prompt) => data.texts[set().answers[cell][prompt][0]];

  const verdict = (judge, cell, prompt) => {
    const found = set().verdicts[judge][cell]?.[prompt];
    if (!found) return el("p", { class: "verdict" }, `Judge ${judge}: no verdict`);
    const [won, conflict, replies] = found;
    const words = won == null ? "could not be read" : won > 0.5 ? "wins against the reference" : won < 0.5 ? "loses against the reference" : "draws with the reference";
    return el("details", { class: `verdict ${won == null ? "" : won > 0.5 ? "win" : won < 0.5 ? "loss" : "draw"}` },
      el("summary", {}, `Judge ${judge}: ${words}${conflict ? " (the two orders disagree)" : ""}`), replies.map((reply) => el("pre", {}, data.texts[reply])));
  };
  const side = (cell, prompt, words) => {
    const [, tokens, finished] = set().answers[cell][prompt];
    return el("div", { class: "answer" }, el("h4", {}, cellName(study, cell)),
      el("p", { class: "text" }, words.map(([word, differs]) => (differs && word.trim() ? el("mark", {}, word) : word))),
      el("p", { class: "note" }, `${tokens == null ? "" : `${number(tokens)} tokens`}${finished === false ? ", cut at the limit" : ""}`),
      judges().map((judge) => verdict(judge, cell, prompt)));
  };
  const pair = (prompt) => {
    const [instruction, input] = set().prompts[prompt], [left, right] = state.cells;
    const words = differing(answer(left, prompt), answer(right, prompt));
    return el("article", { class: "pair" }, el("p", { class: "prompt" }, el("b", {}, `${prompt + 1}. `), instruction),
      input ? el("p", { class: "prompt input" }, input) : null,
      el("div", { class: "sides" }, side(left, prompt, words[0]), side(right, prompt, words[1])));
  };
  const matching = () => [...set().prompts.keys()].filter((prompt) => {
    const [left, right] = state.cells.map((cell) => points(cell, prompt));
    const rule = { all: true, differ: left !== right, better: left > right, worse: left < right }[state.only];
    const texts = [...set().prompts[prompt], ...state.cells.map((cell) => answer(cell, prompt))];
    return rule && texts.some((text) => text.toLowerCase().includes(state.words.toLowerCase()));
  });
  const draw = () => {
    const found = matching(), pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.max(0, Math.min(state.page, pages - 1));
    const turn = (by, text, off) => el("button", { type: "button", class: "toggle", disabled: off, onclick: () => { state.page += by; draw(); } }, text);
    bar.replaceChildren(turn(-1, "Previous", state.page === 0), turn(1, "Next", state.page === pages - 1), el("span", { role: "status" }, `${found.length} of ${set().prompts.length} prompts, sheet ${state.page + 1} of ${pages} (this report holds ${set().note})`));
    area.replaceChildren(...found.slice(state.page * PAGE, (state.page + 1) * PAGE).map(pair));
  };
  const change = (name) => (value) => { state[name] = value; state.page = 0; draw(); };
  const build = () => {
    const cells = Object.keys(set().answers).map(Number);
    if (!state.cells.length || !state.cells.every((cell) => cells.includes(cell))) state.cells = [cells[0], cells.findLast((cell) => cellName(study, cell, false) === cellName(study, cells[0], false))];
    const groups = [...new Set(cells.map((cell) => cellName(study, cell, false)))].map((group) => ({
      group, options: cells.filter((cell) => cellName(study, cell, false) === group).map((cell) => [cell, cellName(study, cell)]),
    }));
    const pick = (place) => (value) => { state.cells[place] = Number(value); state.page = 0; draw(); };
    const rules = [["all", "all"], ["differ", "verdicts differ"], ["better", "left does better"], ["worse", "right does better"]];
    const sets = data.sets.map((one, i) => [i, data.sets.some((other) => other !== one && other.benchmark === one.benchmark) ? `${one.benchmark} (${one.suite})` : one.benchmark]);
    controls.replaceChildren(...[
      choice("Benchmark", sets, state.set, (value) => { state.set = Number(value); state.page = 0; build(); }),
      choice("Left", groups, state.cells[0], pick(0)), choice("Right", groups, state.cells[1], pick(1)),
      judges().length ? choice("Show", rules, state.only, change("only")) : null,
      el("label", { class: "choice" }, el("span", {}, "With the words"), el("input", { type: "search", value: state.words, oninput: (event) => change("words")(event.target.value) })),
    ].filter(Boolean));
    draw();
  };
  host.append(controls, bar, area);
  build();
}
