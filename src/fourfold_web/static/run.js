// One's own runs: samples as they come, texts, services such as a dialogue, paths between codes, holes filled with a brush, scores, and live curves.
import { h, parts, picture, tell } from "./shell.js";
import { controls, runner, uploaded } from "./forms.js";
import { serviceView } from "./services.js";
import d3 from "./vendor/d3.js";

export async function mount(element, api, here) {
  const name = here.rest.join("/");
  return name ? one(element, api, name) : all(element, api);
}

async function all(element, api) {
  const runs = await api.get("runs");
  const card = (run) => h("li", {}, h("a", { class: "card run", href: `#/runs/${run.name.split("/").map(encodeURIComponent).join("/")}`, "data-cell": run.paradigm },
    h("span", { class: "chip" }, run.paradigm || "model"), h("b", {}, parts(run.name)), h("span", { class: "note" }, [run.data, run.steps && `${run.steps.toLocaleString("en")} steps`, run.parameters && `${short(run.parameters)} parameters`].filter(Boolean).join(" · ")), run.trained ? null : h("span", { class: "note" }, "in training")));
  const [zoo, own] = [runs.filter((run) => run.name.startsWith("zoo/")), runs.filter((run) => !run.name.startsWith("zoo/"))];
  element.append(h("div", { class: "page" }, h("h1", {}, "Runs"),
    own.length ? h("ul", { class: "cards" }, own.map(card)) : h("div", { class: "card" }, h("p", {}, "There is no run of yours yet. Train one, then open the page with its folder:"), h("pre", { tabindex: 0 }, "fourfold fit diffusion digits --budget 2m --out runs/mine\nfourfold serve runs")),
    zoo.length ? [h("h2", { class: "below" }, "The zoo"), h("p", { class: "note" }, "Small trained runs that come with the page."), h("ul", { class: "cards" }, zoo.map(card))] : null));
}

const short = (number) => d3.format(".3~s")(number).replace("G", "B");

async function one(element, api, name) {
  const path = `runs/${name.split("/").map(encodeURIComponent).join("/")}`;
  const run = (await api.get("runs")).find((other) => other.name === name);
  if (run && !run.trained) return beginning(element, api, path, run);
  const about = await api.get(`${path}/about`);
  const services = Object.fromEntries(about.services.map((service) => [service.title, (...rest) => serviceView(service, ...rest)]));
  const views = { ...services, Samples: samples, ...(about.writes ? { Write: write } : {}), "In between": between, ...(about.pixels ? { "Fill a hole": hole } : {}), ...(about.likelihood === "none" ? {} : { Likelihood: score }), ...(about.log ? { Training: training } : {}), About: describe };
  const room = h("div", { class: "room" });
  let leave = () => {};
  const open = (title) => {
    leave();
    for (const button of tabs.children) button.setAttribute("aria-pressed", String(button.textContent === title));
    room.replaceChildren();
    leave = views[title](room, api, path, about) ?? (() => {});
  };
  const tabs = h("div", { class: "choices tabs", role: "group", "aria-label": "What to do with the run" }, Object.keys(views).map((title) => h("button", { type: "button", onclick: () => open(title) }, title)));
  element.append(h("div", { class: "page", "data-cell": about.paradigm }, headingOf(about), h("p", { class: "note" }, h("span", { class: "chip" }, about.paradigm), ` · ${about.space} · likelihood: ${about.likelihood} · ${about.sampler}`), tabs, room));
  const talks = about.services.find((service) => service.reads !== "text"); // a keyboard comes after what the run writes by itself
  open(talks?.title ?? (about.writes ? "Write" : "Samples"));
  return () => leave();
}

const headingOf = (run) => [h("p", { class: "note" }, h("a", { href: "#/runs" }, "← All runs")), h("h1", {}, parts(run.name))];

// A training before its first checkpoint: its curves, then all of it.
function beginning(element, api, path, run) {
  const room = h("div", { class: "room" });
  element.append(h("div", { class: "page", "data-cell": run.paradigm }, headingOf(run), h("p", { class: "note" }, "Samples come with the first checkpoint of the training."), room));
  let leave = training(room, api, path, run, async () => {
    await api.get(`${path}/about`);
    leave();
    element.replaceChildren();
    leave = await one(element, api, run.name);
  });
  return () => leave();
}

// What comes from the server, whatever the kind of examples.
function gallery(about, onPick) {
  const box = h("div", { class: "samples" });
  let table = null, points = [], behind = [], frame = null, rows = [];
  return {
    element: box,
    clear() { box.replaceChildren(); table = frame = null; points = []; rows = []; box.classList.remove("tall"); },
    add(row) {
      if (row.given) {
        const shown = gallery(about);
        shown.add({ start: 0, ...row.given });
        box.append(h("section", { class: "given" }, h("h3", {}, "Conditions"), shown.element, h("h3", {}, "Samples")));
      }
      if (row.pictures) row.pictures.forEach((html, i) => {
        const view = picture(html);
        const index = row.start + i;
        box.append(onPick ? h("button", { type: "button", class: "pick", "aria-label": `Sample ${index}`, onclick: () => onPick(index) }, view) : view);
      });
      if (row.columns) {
        const kindOf = (i, figure) => `${figure ? "figure" : ""} ${i < (row.conditions ?? 0) ? "given" : ""}`.trim();
        if (!table) { table = h("table", {}, h("thead", {}, h("tr", {}, row.columns.map((column, i) => h("th", { scope: "col", class: kindOf(i, row.rows.some((cells) => typeof cells[i] === "number")) }, column)))), h("tbody", {})); box.append(h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rows" }, table), h("button", { type: "button", class: "plain", onclick: () => save(row.columns, rows) }, "Save as CSV")); }
        rows.push(...row.rows);
        table.tBodies[0].append(...row.rows.map((cells) => h("tr", {}, cells.map((cell, i) => h("td", { class: kindOf(i, typeof cell === "number") }, cell === null ? "" : typeof cell === "number" ? d3.format(".5~g")(cell) : String(cell))))));
      }
      if (row.points) {
        points.push(...row.points);
        behind = row.behind ?? behind;
        frame?.remove();
        box.append((frame = scatter(points, behind)));
      }
    },
  };
}

function save(columns, rows) {
  const cell = (value) => (/[",\n]/.test(String(value ?? "")) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
  const link = h("a", { href: URL.createObjectURL(new Blob([[columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" })), download: "samples.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function scatter(points, behind, line = false) {
  const every = [...behind, ...points];
  const pad = ([low, high]) => { const room = (high - low || 1) * 0.06; return [low - room, high + room]; };
  const x = d3.scaleLinear(pad(d3.extent(behind.length ? behind : every, (p) => p[0])), [36, 512]), y = d3.scaleLinear(pad(d3.extent(behind.length ? behind : every, (p) => p[1] ?? 0)), [492, 10]);
  const svg = d3.create("svg").attr("viewBox", "0 0 520 520").attr("class", "scatter").attr("role", "img").attr("aria-label", `${points.length} samples over ${behind.length} test examples`);
  svg.append("g").attr("class", "axis").attr("transform", "translate(0,492)").call(d3.axisBottom(x).ticks(6));
  svg.append("g").attr("class", "axis").attr("transform", "translate(36,0)").call(d3.axisLeft(y).ticks(6));
  const dots = (list, css) => svg.append("path").attr("class", css).attr("d", list.map(([a, b = 0]) => `M${x(a).toFixed(1)} ${y(b).toFixed(1)}h0`).join(""));
  dots(behind, "behind");
  if (line) svg.append("path").attr("class", "way").attr("d", d3.line((p) => x(p[0]), (p) => y(p[1]))(points));
  dots(points, "drawn");
  return svg.node();
}

function samples(room, api, path, about) {
  const form = controls(about, { n: about.plane ? 400 : about.columns.length ? 20 : 24, columns: true });
  const view = gallery(about);
  const job = runner("Draw", async (signal, { status, bar }) => {
    view.clear();
    let total = 1, done = 0;
    await api.stream(`${path}/sample`, await form.read(), (row) => {
      total = row.total ?? total;
      view.add(row);
      done += (row.pictures ?? row.rows ?? row.points ?? []).length;
      bar.hidden = false;
      bar.value = done / total;
      if (row.seconds != null) status.textContent = `${done} ${about.items ?? "samples"} in ${row.seconds.toFixed(1)} s`;
      for (const note of row.notes ?? []) room.append(h("p", { class: "note" }, note));
    }, signal);
  });
  room.append(form.element, job.element, view.element);
  job.go();
  return job.stop;
}

function write(room, api, path) {
  const prefix = h("textarea", { rows: 3, placeholder: "The text begins so. It may be empty.", "aria-label": "Beginning of the text" });
  const number = (label, value, attributes) => { const input = h("input", { type: "number", value, ...attributes }); return [input, h("label", { class: "field" }, label, input)]; };
  const [length, lengthField] = number("tokens", 256, { min: 1, max: 4096 }), [seed, seedField] = number("seed", 0, { min: 0 });
  const [temperature, temperatureField] = number("temperature", 1, { min: 0, max: 10, step: 0.1 }), [top, topField] = number("top p", "", { min: 0, max: 1, step: 0.05, placeholder: "1" });
  const output = h("div", { class: "written card", "aria-live": "off" });
  const job = runner("Write", async (signal, { status }) => {
    output.replaceChildren(h("b", {}, prefix.value));
    const request = { prefix: prefix.value, length: Number(length.value), seed: Number(seed.value), temperature: Number(temperature.value), ...(top.value ? { top_p: Number(top.value) } : {}) };
    await api.stream(`${path}/write`, request, (row) => {
      if (row.text) output.append(row.text);
      if (row.tokens) status.textContent = `${row.tokens} tokens, ${(row.tokens / row.seconds).toFixed(0)} a second`;
    }, signal);
  });
  room.append(h("div", { class: "controls" }, prefix, h("div", { class: "row" }, lengthField, seedField, temperatureField, topField)), job.element, output);
  job.go();
  return job.stop;
}

const WITHOUT_CODES = "This model has no codes: it draws one part of an example after another. So it is the noise of these draws that turns from that of one seed to that of another. Numbers glide; a letter or a category jumps where its draw changes.";

function between(room, api, path, about) {
  const form = controls(about, { n: 12, most: 100, seeds: ["seed", "other"] });
  const view = gallery(about);
  const large = h("div", { class: "large" }), slider = h("input", { type: "range", min: 0, max: 11, value: 0, "aria-label": "Place on the way" });
  let pictures = [];
  const show = () => { if (pictures.length) large.replaceChildren(picture(pictures[Number(slider.value)])); };
  slider.addEventListener("input", show);
  const job = runner("Walk", async (signal, { status }) => {
    view.clear();
    large.replaceChildren();
    await api.stream(`${path}/between`, await form.read(), (row) => {
      pictures = row.pictures ?? [];
      slider.max = Math.max(0, pictures.length - 1);
      if (row.points) view.element.append(scatter(row.points, row.behind ?? [], true));
      else view.add(row);
      show();
    }, signal);
    status.textContent = "";
    slider.hidden = !pictures.length;
  });
  room.append(h("p", { class: "note" }, about.codes ? "The noise turns from that of one seed to that of another. Every point on the way is noise of the same distribution, so each is the code of a sample." : WITHOUT_CODES), form.element, job.element, h("div", { class: "walk" }, large, slider), view.element);
  slider.hidden = true;
  job.go();
  return job.stop;
}

function hole(room, api, path, about) {
  const [, height, width] = about.shape;
  const mask = new Uint8Array(width * height);
  const canvas = h("canvas", { width: width * Math.ceil(280 / width), height: height * Math.ceil(280 / width), class: "brush", role: "img", "aria-label": "The picture. Paint the hole with the pointer, or use the buttons." });
  const context = canvas.getContext("2d");
  const image = new Image();
  const size = h("input", { type: "range", min: 1, max: Math.max(2, Math.round(width / 3)), value: Math.max(1, Math.round(width / 8)), "aria-label": "Size of the brush" });
  const form = controls(about, { n: 6, most: 64 });
  const view = gallery(about), choice = gallery(about, (i) => choose(i));
  let index = 0, upload = null;
  const file = h("input", { type: "file", accept: "image/*", hidden: true, onchange: async () => {
    upload = await uploaded(file.files[0]);
    image.src = URL.createObjectURL(file.files[0]);
  } });
  const paint = () => {
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (image.complete && image.naturalWidth) context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const k = canvas.width / width;
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    mask.forEach((on, i) => on && context.fillRect((i % width) * k, Math.floor(i / width) * k, k, k));
  };
  image.onload = paint;
  const brush = (event) => {
    if (!event.buttons) return;
    const box = canvas.getBoundingClientRect(), r = Number(size.value);
    const cx = ((event.clientX - box.left) / box.width) * width, cy = ((event.clientY - box.top) / box.height) * height;
    for (let j = 0; j < height; j++) for (let i = 0; i < width; i++) if (Math.hypot(i + 0.5 - cx, j + 0.5 - cy) <= r / 2 + 0.5) mask[j * width + i] = event.shiftKey ? 0 : 1;
    paint();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); brush(event); });
  canvas.addEventListener("pointermove", brush);
  const cut = (inside) => { mask.forEach((_, i) => (mask[i] = inside(i % width, Math.floor(i / width)) ? 1 : 0)); paint(); };
  const choose = (i) => { index = i; upload = null; image.src = choice.element.querySelectorAll("img")[i]?.src ?? ""; };
  const job = runner("Fill", async (signal, { status }) => {
    view.clear();
    await api.stream(`${path}/fill`, { ...(await form.read()), mask: [...mask], index, ...(upload ? { file: upload } : {}) }, (row) => view.add(row), signal);
    status.textContent = "";
  });
  const first = async () => {
    const { seed, given, condition } = await form.read();
    await api.stream(`${path}/sample`, { n: 8, seed, ...(given ? { given } : {}), ...(condition ? { condition } : {}) }, (row) => choice.add(row));
    choose(0);
  };
  room.append(h("p", { class: "note" }, "Choose a picture, paint a hole, and let the model fill it. Shift and the pointer take paint away."), h("div", { class: "holes" }, h("div", {}, canvas, h("label", { class: "field" }, "brush", size),
    h("div", { class: "row" }, [["left half", (x) => x < width / 2], ["middle", (x, y) => Math.abs(x + 0.5 - width / 2) < width / 4 && Math.abs(y + 0.5 - height / 2) < height / 4], ["lower half", (x, y) => y >= height / 2], ["none", () => false]].map(([text, inside]) => h("button", { type: "button", onclick: () => cut(inside) }, text)))),
    h("div", {}, choice.element, h("button", { type: "button", onclick: () => file.click() }, "Choose a file"), file, form.element, job.element, view.element)));
  cut((x, y) => y >= height / 2);
  first().catch(tell);
  return job.stop;
}

function score(room, api, path, about) {
  const output = h("div", { class: "scores" });
  const form = controls({ ...about, samplers: [], steps_of_sampler: null, guided: false }, { n: null, seeds: [] });
  const file = h("input", { type: "file", "aria-label": "A file of examples", onchange: () => file.files[0] && job.go() });
  const job = runner("Score", async (signal, { status }) => {
    const chosen = file.files[0];
    if (!chosen) throw new Error("There is no file yet: choose one.");
    const parts = {}, view = gallery(about);
    let result = null;
    const { given, condition } = await form.read();
    await api.stream(`${path}/score`, { file: await uploaded(chosen), ...(given ? { given } : {}), ...(condition ? { condition } : {}) }, (row) => {
      if (row.summary) { result = row; view.add(row); }
      if (row.part) parts[row.part] = row.values;
      if (result) output.replaceChildren(scoreOf(result, parts, about.unit), view.element);
    }, signal);
    status.textContent = "";
  });
  room.append(h("p", { class: "lead" }, `log p(x) of each example of a file in ${about.unit}: ${about.likelihood}. ${about.likelihood_note[0].toUpperCase()}${about.likelihood_note.slice(1)}.`), h("div", { class: "row" }, h("label", { class: "field" }, "examples", file)), ...(about.given ? [form.element] : []), job.element, output);
  room.addEventListener("dragover", (event) => event.preventDefault());
  room.addEventListener("drop", (event) => { event.preventDefault(); file.files = event.dataTransfer.files; job.go(); });
  return job.stop;
}

function scoreOf(result, parts, unit) {
  const { mean, std_error: error, kind, examples, note } = result.summary;
  const better = unit.startsWith("bits") || unit.startsWith("nats per") ? -1 : 1;
  const places = Object.entries(parts).map(([part, values]) => {
    const mine = d3.mean(result.values), below = values.filter((value) => better * value < better * mine).length;
    return h("li", {}, `The mean is more likely than ${Math.round((100 * below) / values.length)} % of ${values.length} ${part} examples.`);
  });
  return h("div", {}, h("p", { class: "figure-line" }, h("b", {}, mean === null ? "–" : d3.format(".4~f")(mean)), error === null ? "" : ` ± ${d3.format(".2~g")(error)}`, ` ${unit}, ${kind.replaceAll("_", " ")}, ${examples} examples`), note ? h("p", { class: "note" }, note) : null, h("ul", {}, places), histogram({ ...parts, "the file": result.values }, unit));
}

function histogram(sets, unit) {
  const every = Object.values(sets).flat().filter((value) => value !== null);
  if (every.length < 2) return h("p", {}, every.map((value) => `${d3.format(".4~f")(value)} ${unit}`).join(", "));
  const x = d3.scaleLinear([d3.quantile(every, 0.005), d3.quantile(every, 0.995)], [10, 630]).nice();
  const svg = d3.create("svg").attr("viewBox", `0 0 640 ${70 * Object.keys(sets).length + 30}`).attr("class", "histogram").attr("role", "img").attr("aria-label", `Likelihoods in ${unit} of ${Object.keys(sets).join(", ")}`);
  Object.entries(sets).forEach(([name, values], row) => {
    const bins = d3.bin().domain(x.domain()).thresholds(40)(values.map((value) => Math.min(Math.max(value, x.domain()[0]), x.domain()[1])));
    const y = d3.scaleLinear([0, d3.max(bins, (bin) => bin.length)], [0, 46]);
    const g = svg.append("g").attr("transform", `translate(0,${70 * row + 66})`).attr("class", name === "the file" ? "mine" : "");
    g.selectAll("rect").data(bins).join("rect").attr("x", (bin) => x(bin.x0)).attr("width", (bin) => Math.max(1, x(bin.x1) - x(bin.x0) - 1)).attr("y", (bin) => -y(bin.length)).attr("height", (bin) => y(bin.length));
    g.append("text").attr("x", 10).attr("y", -50).text(`${name} (${values.length})`);
  });
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${70 * Object.keys(sets).length + 4})`).call(d3.axisBottom(x).ticks(8));
  return svg.node();
}

function training(room, api, path, about, onFirst = null) {
  const box = h("div", { class: "curves" }), status = h("p", { class: "note", role: "status" });
  room.append(status, box);
  let last = -1, timer = null, gone = false;
  const refresh = async () => {
    try {
      const log = await api.get(`${path}/log`);
      if (gone) return;
      if (log.trained && onFirst) return onFirst();
      const moving = last >= 0 && log.step !== last;
      status.textContent = log.step == null ? "Nothing is logged yet." : `Step ${log.step.toLocaleString("en")}${log.trained && !moving ? ", at its end" : ", in training"}. The curves follow the log.`;
      if (log.step !== last) box.replaceChildren(...curves(log.curves));
      last = log.step ?? -1;
    } catch (error) {
      tell(error);
    }
    if (!gone) timer = setTimeout(refresh, 2000);
  };
  refresh();
  return () => { gone = true; clearTimeout(timer); };
}

const isFirst = (key) => /(^|\/)(loss|held_out|held_out_loss)$/.test(key);
function curves(all) {
  const keys = Object.keys(all).filter((key) => all[key].length > 1 && !["seconds", "epoch"].includes(key)).sort((a, b) => isFirst(b) - isFirst(a) || a.localeCompare(b));
  return keys.map((key) => {
    const points = all[key], values = points.map((point) => point[1]);
    const x = d3.scaleLinear(d3.extent(points, (p) => p[0]), [44, 310]), y = d3.scaleLinear([d3.quantile(values, 0), d3.quantile(values, 0.98)], [130, 10]).nice();
    const svg = d3.create("svg").attr("viewBox", "0 0 320 160").attr("role", "img").attr("aria-label", `${key} over ${points.length} logged steps, last ${d3.format(".4~g")(values.at(-1))}`);
    svg.append("g").attr("class", "axis").attr("transform", "translate(0,134)").call(d3.axisBottom(x).ticks(4, "~s"));
    svg.append("g").attr("class", "axis").attr("transform", "translate(44,0)").call(d3.axisLeft(y).ticks(4).tickFormat(d3.format(".3~g")));
    svg.append("path").attr("class", "curve").attr("d", d3.line((p) => x(p[0]), (p) => Math.max(4, y(p[1])))(points));
    return h("figure", {}, h("figcaption", {}, key.replaceAll("_", " "), h("b", {}, ` ${d3.format(".4~g")(values.at(-1))}`)), svg.node());
  });
}

function describe(room, api, path, about) {
  const rows = [["recipe", about.recipe], ["data", about.data], ["examples", about.space], ["parameters", about.parameters?.toLocaleString("en")], ["steps", about.steps?.toLocaleString("en")], ["seconds", about.seconds?.toFixed?.(1)], ["likelihood", `${about.likelihood}: ${about.likelihood_note}`], ["cost of a sample", about.cost], ["watch for", about.failures.map((mode) => `${mode.name} (${mode.meaning})`).join("; ")]];
  room.append(h("h2", {}, "What is its training objective?"), h("p", {}, about.objective), h("p", { class: "formula" }, about.objective_formula), h("h2", {}, "What is its sampling procedure?"), h("p", {}, about.sampling), h("p", { class: "formula" }, about.sampling_formula),
    h("dl", { class: "facts" }, rows.filter(([, value]) => value).flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, value)])));
}
