// Comparison: choose data and a budget, watch the models race, and open the report.
import { h, picture, tell } from "./shell.js";
import { scatter } from "./run.js";
import d3 from "./vendor/d3.js";

export function mount(element, api, here) {
  return here.rest[0] ? race(element, api, here.rest[0]) : start(element, api);
}

async function start(element, api) {
  const [sets, comparisons] = await Promise.all([api.get("data"), api.get("comparisons")]);
  const data = h("select", {}, h("option", { value: "" }, "a file of mine"), Object.entries(sets).map(([name, about]) => h("option", { value: name, title: about }, name)));
  data.value = sets.digits ? "digits" : "";
  const file = h("input", { type: "file" });
  const about = h("p", { class: "note" });
  const budget = h("input", { type: "text", value: "30s", pattern: "[0-9][0-9a-z., ]*" });
  const size = h("select", {}, ["xs", "s", "m", "auto"].map((name) => h("option", { value: name }, name)));
  const fileField = h("label", { class: "field" }, "file", file);
  const change = () => { fileField.hidden = data.value !== ""; about.textContent = sets[data.value] ?? "A table, images in an archive, sounds, an array, a text: what fourfold fit reads from one file."; };
  data.addEventListener("change", change);
  change();
  const go = h("button", { type: "button", class: "first", onclick: async () => {
    go.disabled = true;
    try {
      const chosen = data.value === "" ? file.files[0] : null;
      if (data.value === "" && !chosen) throw new Error("There is no file yet: choose one.");
      const query = new URLSearchParams({ data: chosen?.name ?? data.value, budget: budget.value, size: size.value });
      const { name } = await api.post(`comparisons?${query}`, chosen ?? new Blob([]));
      location.hash = `#/compare/${encodeURIComponent(name)}`;
    } catch (error) {
      tell(error);
    } finally {
      go.disabled = false;
    }
  } }, "Start");
  element.append(h("div", { class: "page" }, h("h1", {}, "Compare"), h("p", { class: "lead" }, "Every paradigm learns the same data under one budget, and a report says which differences are real."),
    h("div", { class: "card" }, h("div", { class: "row" }, h("label", { class: "field" }, "data", data), fileField, h("label", { class: "field" }, "budget of each model", budget), h("label", { class: "field" }, "size", size), go), about,
      h("p", { class: "note" }, "Budgets are as on the command line: 30s, 5m, 400 steps. The comparison goes on when this page is closed.")),
    comparisons.length ? [h("h2", { class: "below" }, "Earlier ones"), h("ul", { class: "cards" }, comparisons.map((row) => h("li", {}, h("a", { class: "card run", href: `#/compare/${encodeURIComponent(row.name)}` }, h("b", {}, row.name), h("span", { class: "note" }, row.running ? "running" : row.report ? "report ready" : "stopped")))))] : null));
}

function race(element, api, name) {
  const path = `comparisons/${encodeURIComponent(name)}`;
  const head = h("div", { class: "row actions" }), cards = h("div", { class: "racers" }), output = h("pre", { tabindex: 0 }), command = h("pre", { tabindex: 0 });
  element.append(h("div", { class: "page" }, h("p", { class: "note" }, h("a", { href: "#/compare" }, "← All comparisons")), h("h1", {}, name), head, cards,
    h("details", {}, h("summary", {}, "Output"), output), h("details", {}, h("summary", {}, "On the command line"), h("p", { class: "note" }, "The same comparison, which goes on where it stopped:"), command)));
  const racers = new Map();
  let gone = false, timer = null, last = "";
  const act = (what) => api.post(`${path}/${what}`, {}).then(refresh, tell);
  async function refresh() {
    clearTimeout(timer);
    try {
      const state = await api.get(path);
      if (gone) return;
      const mode = `${state.running} ${state.report}`;
      if (mode !== last) head.replaceChildren(...[h("span", { class: "note", role: "status" }, state.running ? "The models race." : state.report ? "The comparison has ended." : "The comparison has stopped."),
        state.report && !state.running ? h("a", { class: "button first", href: `api/${path}/report`, target: "_blank", rel: "noopener" }, "Open the report") : null,
        state.running ? h("button", { type: "button", onclick: () => act("stop") }, "Stop") : h("button", { type: "button", onclick: () => act("resume") }, "Go on")].filter(Boolean));
      last = mode;
      output.textContent = state.output ?? "";
      command.textContent = state.command;
      if (!state.runs.length) cards.replaceChildren(h("p", { class: "empty" }, state.running ? "The data is read, and the models are built…" : "No model has begun. The output says why."));
      else cards.querySelector(".empty")?.remove();
      for (const run of state.runs) {
        if (!racers.has(run.name)) { racers.set(run.name, racer(api)); cards.append(racers.get(run.name).element); }
        racers.get(run.name).update(run);
      }
      if (state.running) timer = setTimeout(refresh, 1500);
    } catch (error) {
      tell(error);
      if (!gone) timer = setTimeout(refresh, 5000);
    }
  }
  refresh();
  return () => { gone = true; clearTimeout(timer); };
}

// One model of the race: how far it is, its losses, and samples of its newest weights.
function racer(api) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Share of the budget" }), status = h("span", { class: "note" }), chart = h("div", {}), samples = h("div", { class: "samples small" }), title = h("b", {});
  const element = h("section", { class: "card racer" }, h("header", {}, title, status), bar, chart, samples);
  let weights = null, busy = false;
  return {
    element,
    update(run) {
      title.textContent = run.recipe;
      element.dataset.cell = run.paradigm;
      bar.value = run.used;
      status.textContent = run.failed ? `failed: ${run.failed}` : run.done ? "done" : run.step ? `step ${run.step.toLocaleString("en")}` : "waiting";
      if (run.loss.length > 1) chart.replaceChildren(losses(run));
      if (run.weights && run.weights !== weights && !busy) {
        busy = true;
        weights = run.weights;
        const rows = [];
        const address = run.name.split("/").map(encodeURIComponent).join("/");
        api.stream(`runs/${address}/sample`, { n: 64 }, (row) => rows.push(row)).then(() => samples.replaceChildren(...shown(rows)), () => (weights = null)).finally(() => (busy = false));
      }
    },
  };
}

function shown(rows) {
  const points = rows.flatMap((row) => row.points ?? []);
  if (points.length) return [scatter(points, rows[0].behind ?? [])];
  const cells = rows.flatMap((row) => row.rows ?? []), columns = rows.find((row) => row.columns)?.columns;
  if (columns) return [h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Samples" }, h("table", {}, h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))), h("tbody", {}, cells.slice(0, 5).map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell === null ? "" : typeof cell === "number" ? d3.format(".4~g")(cell) : String(cell))))))))];
  return rows.flatMap((row) => row.pictures ?? []).slice(0, 12).map(picture);
}

function losses({ loss, held_out: held, recipe }) {
  const every = [...loss, ...held], values = every.map((point) => point[1]);
  const x = d3.scaleLinear(d3.extent(every, (p) => p[0]), [36, 308]), y = d3.scaleLinear([d3.min(values), d3.quantile(values, 0.97)], [84, 8]).nice(3);
  const svg = d3.create("svg").attr("viewBox", "0 0 320 108").attr("role", "img").attr("aria-label", `Loss of ${recipe}, last ${d3.format(".3~g")(values.at(-1))}`);
  svg.append("g").attr("class", "axis").attr("transform", "translate(0,86)").call(d3.axisBottom(x).ticks(4, "~s"));
  svg.append("g").attr("class", "axis").attr("transform", "translate(36,0)").call(d3.axisLeft(y).ticks(3).tickFormat(d3.format(".3~g")));
  const line = d3.line((p) => x(p[0]), (p) => Math.max(3, y(p[1])));
  svg.append("path").attr("class", "curve faint").attr("d", line(loss));
  if (held.length > 1) svg.append("path").attr("class", "curve").attr("d", line(held));
  return svg.node();
}
