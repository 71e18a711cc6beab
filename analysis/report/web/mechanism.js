// The measurements that may explain what the weight does.

function mechanism(host, data, study) {
  host.append(el("div", { class: "panels wide" }, data.panels.map((panel) => weightPanel(panel, study, median))));
}
