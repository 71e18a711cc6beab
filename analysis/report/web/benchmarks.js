// Every benchmark's headline score by weight.

function benchmarks(host, data, study) {
  const panels = data.benchmarks.map((benchmark, index) => {
    const points = data.points.filter((point) => point[0] === index).map((point) => point.slice(1));
    const further = data.further.filter((line) => line[1] === index);
    const panel = weightPanel({ title: benchmark.name, label: benchmark.metric, points, further }, study, mean);
    return { group: benchmark.group, panel };
  });
  const groups = [...new Set(data.benchmarks.map((benchmark) => benchmark.group))];
  const show = (group) => panels.forEach((one) => { one.panel.hidden = group !== "" && one.group !== group; });
  const options = [["", "all"], ...groups.map((group) => [group, group.replaceAll("_", " ")])];
  if (groups.length > 1) host.append(el("div", { class: "controls" }, choice("Benchmarks", options, "", show)));
  host.append(el("div", { class: "panels" }, panels.map((one) => one.panel)));
}
