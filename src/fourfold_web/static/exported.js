// A run on an exported page: its card, its two answers, its samples, and the way its sampler goes.
import { answers, stage } from "./paradigms.js";
import { unpacked } from "./player.js";
import { h } from "./shell.js";

export async function mount(element, api) {
  const run = await api.get("run");
  const facts = [["data", run.data], ["examples", run.space], ["parameters", run.parameters?.toLocaleString("en")], ["steps of training", run.steps?.toLocaleString("en")]].filter(([, value]) => value);
  const picture = h("iframe", { title: "Samples", sandbox: "", srcdoc: `<meta name="color-scheme" content="light dark">${run.picture}` });
  const page = h("div", { class: "page" }, h("h1", {}, run.name),
    h("dl", { class: "facts" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    run.report ? h("p", {}, h("a", { href: "report.html" }, "The report of the comparison that this run is from")) : null);
  element.append(page);
  if (run.trace) {
    const show = stage();
    page.append(...show.elements.slice(1)); // without the wall of tiles, since there is one
    show.put(run.answers.paradigm, unpacked(run.trace));
    show.play();
    return show.stop;
  }
  page.append(h("div", { class: "detail", "data-cell": run.answers.paradigm }, h("div", { class: "samples" }, h("h2", {}, "Samples"), picture), answers(run.answers.paradigm, run)));
  return () => {};
}
