"use strict";
const examples = [...document.querySelectorAll(".example")], answers = [];
// Wilson's interval of a share of n
function wilson(share, n) {
  const z = 1.96, square = z * z / n;
  const half = z * Math.sqrt(share * (1 - share) / n + square / (4 * n));
  return [(share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)];
}
function percent(value) { return (100 * value).toFixed(1) + " %"; }
function line(parent, text) { parent.appendChild(document.createElement("p")).textContent = text; }
function show() {
  const n = examples.length, truth = examples.map(e => e.dataset.drawn === "1");
  const hits = answers.filter((answer, i) => answer === truth[i]).length;
  const [low, high] = wilson(hits / n, n), result = document.getElementById("result");
  line(result, `You were right in ${hits} of ${n}: ${percent(hits / n)} (${percent(low)} to ${percent(high)}).`);
  line(result, low > 0.5 ? "That is significantly better than chance: you can tell them apart."
    : "That is not significantly better than the 50 % of chance.");
  const fooled = truth.filter((drawn, i) => drawn && !answers[i]).length;
  line(result, `Of ${truth.filter(drawn => drawn).length} drawn ones you took ${fooled} for real.`);
  line(result, "Answers, for --answers FILE: " + answers.map(answer => answer ? "d" : "r").join(" "));
  result.hidden = false;
  document.getElementById("ask").hidden = true;
}
function give(answer) {
  if (answers.length === examples.length) return;
  examples[answers.length].hidden = true;
  answers.push(answer);
  if (answers.length === examples.length) return show();
  examples[answers.length].hidden = false;
  document.getElementById("count").textContent = answers.length + 1;
}
document.getElementById("real").addEventListener("click", () => give(false));
document.getElementById("drawn").addEventListener("click", () => give(true));
document.addEventListener("keydown", event => {
  if (event.key === "r" || event.key === "d") give(event.key === "d");
});
