"use strict";
const data = JSON.parse(document.getElementById("data").textContent), map = document.getElementById("map"), card = document.getElementById("card");
const make = (tag, text) => { const node = document.createElement(tag); if (text) node.textContent = text; return node; };
function show(row) {
  card.replaceChildren(make("h2", row.name), make("div", row.line));
  const list = make("dl");
  for (const [label, text] of [["paradigm", row.paradigm], ["objective", row.objective], ["sampling", row.sampling], ["likelihood", row.likelihood], ["inherited", row.inherited]])
    if (text) list.append(make("dt", label), make("dd", text));
  if (row.parts.length) { const items = make("ul"); row.parts.forEach(part => items.append(make("li", part))); list.append(make("dt", "parts and failure modes"), items); }
  for (const link of row.source) { const a = make("a", link); a.href = link; const dd = make("dd"); dd.append(a); list.append(dd); }
  card.append(list);
}
let chosen = null;
map.addEventListener("click", event => {
  const dot = event.target.closest(".dot"), title = event.target.closest(".title");
  if (dot) { if (chosen) chosen.classList.remove("on"); chosen = dot; dot.classList.add("on"); show(data.dots[dot.dataset.i]); }
  else if (title) show(data.cells[title.dataset.cell]);
});
const box = map.viewBox.baseVal;
map.addEventListener("wheel", event => {
  event.preventDefault();
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse()), k = Math.exp(event.deltaY * 0.0015);
  box.x = at.x + (box.x - at.x) * k; box.y = at.y + (box.y - at.y) * k; box.width *= k; box.height *= k;
}, { passive: false });
let held = null;
map.addEventListener("pointerdown", event => { held = [event.clientX, event.clientY]; });
window.addEventListener("pointerup", () => { held = null; });
window.addEventListener("pointermove", event => {
  if (!held) return;
  const k = 1 / map.getScreenCTM().a;
  box.x -= (event.clientX - held[0]) * k; box.y -= (event.clientY - held[1]) * k; held = [event.clientX, event.clientY];
});
document.getElementById("find").addEventListener("input", event => {
  const wanted = event.target.value.toLowerCase();
  document.querySelectorAll(".dot").forEach(dot => dot.classList.toggle("dim", !data.dots[dot.dataset.i].name.toLowerCase().includes(wanted)));
});
