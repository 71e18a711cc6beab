// The one tooltip: shown beside a pointer or a point, read aloud by screen readers as a status.

const tip = document.getElementById("tip");

/** Show lines, the first as a heading, beside a place of the window. */
function showTip(lines, x, y) {
  tip.replaceChildren(...lines.map((line, index) => el(index ? "div" : "b", {}, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const right = document.documentElement.clientWidth - box.width - 8;
  const below = y + 16 + box.height < window.innerHeight;
  tip.style.left = `${Math.max(8, Math.min(x + 14, right))}px`;
  tip.style.top = `${Math.max(8, below ? y + 16 : y - box.height - 12)}px`;
}

function hideTip() {
  tip.hidden = true;
}

document.addEventListener("scroll", hideTip, { passive: true, capture: true });
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
