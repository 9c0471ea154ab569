// Paradigms at work: one data set, every paradigm, the way from noise to samples beside each other.
import { ALWAYS, Clock, KINDS, Plane, Snapshot, moment, startOf, unpacked } from "./player.js";
import { h, route, tell } from "./shell.js";

const TITLES = { "latent-diffusion": "latent diffusion", "latent-variable": "latent variable", flow: "normalizing flow", energy: "energy-based" };
const SPEEDS = [["0.25", "¼ ×"], ["0.5", "½ ×"], ["1", "1 ×"], ["2", "2 ×"]];
const BUDGETS = [5, 10, 30, 60];
const SECONDS = 9;
const HUES = { "latent-diffusion": "diffusion" };
const titleOf = (name) => TITLES[name] ?? name;

export async function mount(element, api, here) {
  const sets = (await api.get("traces")).sets;
  const page = h("div", { class: "page" });
  element.append(page);
  let leave = () => {};
  const open = async (name, first) => {
    leave();
    leave = () => {};
    if (route().name === "paradigms") history.replaceState(null, "", `#/paradigms/${name}`);
    if (name === "train") leave = await training(page, api, header(name));
    else await recorded(name, first);
  };
  await open(here.rest[0] === "train" && api.live ? "train" : Object.hasOwn(sets, here.rest[0]) ? here.rest[0] : Object.keys(sets)[0], here.rest[1]);
  return () => leave();

  async function recorded(name, first) {
    const show = stage(first, api.live ? (paradigm, trace) => settings(api, `traces/${name}/${paradigm}`, show, paradigm, trace) : null);
    for (const paradigm of sets[name]) show.add(paradigm);
    page.replaceChildren(header(name), ...show.elements);
    leave = show.stop;
    await Promise.all(sets[name].map(async (paradigm) => show.put(paradigm, unpacked(await api.get(`traces/${name}/${paradigm}`)))));
    if (page.contains(show.elements[0])) show.play();
  }

  function header(name) {
    const choices = [...Object.keys(sets).map((set) => [set, set]), ...(api.live ? [["train", "Train live"]] : [])];
    return h("header", { class: "intro" },
      h("div", {}, h("h1", {}, "Seven ways of turning noise into data"),
        h("p", { class: "lead" }, "Each model learned the same data. Two answers tell them apart: what is the training objective, and what is the sampling procedure?")),
      h("div", { class: "choices", role: "group", "aria-label": "Data" }, choices.map(([set, text]) =>
        h("button", { type: "button", "aria-pressed": String(set === name), onclick: () => open(set).catch(tell) }, text))));
  }
}

// Tiles of all models on one clock, and one of them in full.
export function stage(first = "diffusion", again = null) {
  const shown = new Set([...ALWAYS, "data", "field", "lines", "arrows", "trails"]);
  const sparse = new Set([...shown].filter((kind) => kind !== "arrows" && kind !== "trails"));
  const tiles = new Map();
  let chosen = "", large = [];
  const clock = new Clock(SECONDS, refresh);
  const wall = h("div", { class: "wall" });
  const controls = transport();
  controls.element.hidden = true; // until there is something to play
  const detail = h("section", { class: "detail", "aria-label": "The chosen paradigm" });
  addEventListener("keydown", onKey);

  return { elements: [wall, controls.element, detail], add, put, progress, play: () => clock.play(), stop };

  function stop() {
    clock.pause();
    removeEventListener("keydown", onKey);
    for (const { plane } of tiles.values()) plane?.stop();
    for (const plane of large) plane.stop();
  }

  function add(name) {
    const canvas = h("canvas", { role: "img", "aria-label": `${titleOf(name)}: from noise to samples` });
    const lines = h("span", { class: "lines" });
    const bar = h("progress", { max: 1, value: 0, "aria-label": `training of ${titleOf(name)}`, hidden: true });
    const button = h("button", { type: "button", class: "tile", "data-cell": HUES[name] ?? name, "aria-pressed": "false", onclick: () => pick(name) },
      h("span", { class: "chip" }, titleOf(name)), canvas, bar, lines);
    wall.append(button);
    tiles.set(name, { button, canvas, lines, bar, plane: null, trace: null });
  }

  function tell(name, texts) {
    tiles.get(name).lines.replaceChildren(...texts.filter(Boolean).map((text) => h("span", { class: "facts-line" }, text)));
  }

  // A trace of a model: its tile plays it.
  function put(name, trace) {
    if (!tiles.has(name)) add(name);
    const tile = tiles.get(name);
    tile.plane?.stop();
    Object.assign(tile, { trace, plane: new Plane(tile.canvas, trace, trace.panels.at(-1), sparse) });
    tile.bar.hidden = true;
    controls.element.hidden = false;
    tell(name, [trace.score ? `${trace.score.nats.toFixed(2)} nats, ${trace.score.kind}` : `likelihood: ${trace.answers.likelihood}`, `${count(trace)} a sample`, alarm(trace.failures)]);
    tile.button.classList.toggle("bad", alarm(trace.failures).startsWith("⚠"));
    tile.plane.fit();
    if (name === (chosen || first) || (!chosen && !tiles.has(first))) pick(name);
  }

  // The state of a training: its tile shows the latest samples.
  function progress(row, data) {
    const tile = tiles.get(row.name);
    if (tile.trace) return;
    tile.bar.hidden = false;
    tile.bar.value = row.used ?? 0;
    tell(row.name, [row.error ? `ended: ${row.error}` : row.stage ? `step ${row.step} of its ${row.stage}` : `step ${row.step ?? 0}`,
      alarm(row.failures) || Object.entries(row.loss ?? {}).map(([key, value]) => `${key} ${value}`).join(", ")]);
    tile.button.classList.toggle("bad", alarm(row.failures).startsWith("⚠"));
    if (row.samples) new Snapshot(tile.canvas, data).draw(row.samples);
  }

  function transport() {
    const play = h("button", { type: "button", class: "first", onclick: toggle }, "Play");
    const scrub = h("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Moment", oninput: () => { const share = scrub.value / 1000; clock.pause(); clock.set(share); } });
    const speed = h("select", { "aria-label": "Speed", onchange: () => { clock.speed = Number(speed.value); } }, SPEEDS.map(([value, text]) => h("option", { value, selected: value === "1" }, text)));
    const step = (by, text, label) => h("button", { type: "button", "aria-label": label, onclick: () => move(by) }, text);
    return { play, scrub, element: h("div", { class: "transport", role: "group", "aria-label": "Playback" }, play, step(-1, "‹", "One step back"), step(1, "›", "One step on"), scrub, speed) };
  }

  function toggle() { if (clock.playing) clock.pause(); else clock.play(); }

  function move(by) {
    const trace = tiles.get(chosen)?.trace;
    if (!trace) return;
    clock.pause();
    clock.set(startOf(trace, moment(trace, clock.share).frame + by));
  }

  function onKey(event) {
    if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !event.target.closest("button")) { event.preventDefault(); toggle(); }
    if (event.key === "." || event.key === ",") move(event.key === "." ? 1 : -1);
  }

  function refresh(share, playing) {
    for (const { plane } of tiles.values()) plane?.draw(share);
    for (const plane of large) plane.draw(share);
    controls.scrub.value = Math.round(share * 1000);
    write(controls.play, playing ? "Pause" : "Play");
    const caption = detail.querySelector(".caption"), trace = tiles.get(chosen)?.trace;
    if (caption && trace) write(caption, captionOf(trace, share));
  }

  function pick(name) {
    const { trace } = tiles.get(name);
    if (!trace) return;
    chosen = name;
    for (const plane of large) plane.stop();
    for (const [other, { button }] of tiles) button.setAttribute("aria-pressed", String(other === name));
    const figures = trace.panels.map((panel) => {
      const canvas = h("canvas", { role: "img", "aria-label": `${panel.title} of ${titleOf(name)}` });
      return { canvas, panel, element: h("figure", {}, h("figcaption", {}, panel.title), canvas) };
    });
    detail.dataset.cell = HUES[name] ?? name;
    detail.replaceChildren(
      h("div", { class: "stage" }, h("div", { class: "figures" }, figures.map((figure) => figure.element)),
        h("p", { class: "caption" }, captionOf(trace, clock.share)), switches(trace), again ? again(name, trace) : null),
      answers(name, trace));
    large = figures.map(({ canvas, panel }) => new Plane(canvas, trace, panel, shown));
    for (const plane of large) plane.fit();
    refresh(clock.share, clock.playing);
  }

  function switches(trace) {
    const layers = trace.panels.flatMap((panel) => panel.layers);
    const names = Object.fromEntries(layers.map((layer) => [layer.kind, layer.name]));
    if (layers.some((layer) => layer.kind === "points" && layer.frames > 8)) names.trails = "the paths of the points";
    return h("div", { class: "switches", role: "group", "aria-label": "Layers" }, Object.entries(KINDS).filter(([kind]) => names[kind]).map(([kind, title]) =>
      h("label", { title: names[kind] }, h("input", { type: "checkbox", checked: shown.has(kind), onchange: (event) => {
        if (event.target.checked) shown.add(kind); else shown.delete(kind);
        for (const plane of large) plane.draw(clock.share);
      } }), title)));
  }
}

// A text that stays is not written again: that would lay out the page at each frame.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function captionOf(trace, share) {
  return trace.frames[moment(trace, share).frame].caption;
}

function count(trace) {
  const number = Math.round(trace.evaluations * 10) / 10;
  return `${number} evaluation${number === 1 ? "" : "s"}`;
}

// The word and the number of a failure mode that training or samples show.
function health(trace, name) {
  const mode = trace.failures?.find((item) => item.name === name);
  if (!mode || mode.value === null) return null;
  return h("span", { class: `health ${mode.word}` }, ` ${mode.word || "watched"}: ${mode.value.toFixed(2)}`);
}

function alarm(failures = []) {
  const names = (word) => failures.filter((mode) => mode.word === word).map((mode) => mode.name).join(", ");
  return names("bad") ? `⚠ ${names("bad")}` : names("watch") ? `watch: ${names("watch")}` : "";
}

export function answers(name, trace) {
  const say = trace.answers;
  const score = trace.score
    ? [h("b", {}, `${trace.score.nats.toFixed(3)} ± ${trace.score.error.toFixed(3)} nats`), ` a test example: ${trace.score.kind} (${trace.score.note})`]
    : [`${say.likelihood}: ${say.likelihood_note}`];
  const cost = trace.evaluations ? `${count(trace)} of the network for a sample, counted; ${say.cost}` : say.cost;
  const facts = [["likelihood", score], ["cost", cost], ["learns", say.represents]];
  return h("div", { class: "answers" }, h("h2", {}, h("span", { class: "chip" }, titleOf(name))),
    h("h3", {}, "What is its training objective?"), h("p", {}, say.objective), h("p", { class: "formula" }, say.objective_formula),
    h("h3", {}, "What is its sampling procedure?"), h("p", {}, say.sampling), h("p", { class: "formula" }, say.sampling_formula),
    h("dl", { class: "facts" }, facts.flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, value)])),
    h("h3", {}, "How it fails"), h("ul", { class: "failures" }, say.failures.map((mode) => h("li", {}, h("b", {}, mode.name), `: ${mode.meaning}`, health(trace, mode.name)))));
}

// Training live: what to train on, for how long, and what to do wrong on purpose.
async function training(page, api, header) {
  const choices = await api.get("live");
  const pad = drawingPad();
  const data = h("select", { id: "live-data", onchange: () => { pad.element.hidden = data.value !== "own"; } },
    choices.data.map((name) => h("option", { value: name }, name)), h("option", { value: "own" }, "your own drawing"));
  const budget = h("select", { id: "live-budget" }, BUDGETS.map((seconds) => h("option", { value: seconds, selected: seconds === 10 }, `${seconds} s each`)));
  const box = (value, text, checked, cell) => h("label", { "data-cell": cell }, h("input", { type: "checkbox", value, checked }), h("span", { class: cell ? "chip" : "" }, text));
  const paradigms = h("fieldset", {}, h("legend", {}, "Paradigms"), choices.paradigms.map((name) => box(name, titleOf(name), true, HUES[name] ?? name)));
  const failures = h("fieldset", {}, h("legend", {}, "Make it fail"), choices.failures.map((mode) => box(mode.name, `${titleOf(mode.paradigm)}: ${mode.title}`, false)));
  const labels = box("labels", "learn the classes too, for guidance", false);
  const start = h("button", { type: "button", class: "first", onclick: () => run().catch(tell) }, "Train");
  const pause = h("button", { type: "button", disabled: true, onclick: () => act(paused ? "go" : "pause") }, "Pause");
  const step = h("button", { type: "button", disabled: true, onclick: () => act("step") }, "One step");
  const end = h("button", { type: "button", disabled: true, onclick: () => abort?.abort() }, "Stop");
  const room = h("div", { class: "room" }, h("p", { class: "empty" }, "Choose data and a budget, and press Train. All models learn in turn, and you see their samples change."));
  page.replaceChildren(header, h("div", { class: "card studio" },
    h("div", { class: "row" }, h("label", { class: "field", for: "live-data" }, "Data", data), h("label", { class: "field", for: "live-budget" }, "Budget", budget), labels, start, pause, step, end),
    pad.element, h("div", { class: "row" }, paradigms, failures)), room);
  let abort = null, studio = "", paused = false, show = null;
  const chosen = (set) => [...set.querySelectorAll("input:checked")].map((input) => input.value);

  async function act(name) {
    try {
      paused = (await api.post(`live/${studio}/${name}`, {})).paused;
      pause.textContent = paused ? "Go on" : "Pause";
    } catch (error) { tell(error); }
  }

  async function run() {
    abort?.abort();
    show?.stop();
    const mine = (abort = new AbortController());
    const request = { data: data.value === "own" ? pad.points() : data.value, paradigms: chosen(paradigms), failures: chosen(failures), seconds: Number(budget.value), conditional: labels.firstChild.checked && data.value !== "own" };
    const scene = (show = stage("diffusion", (name, trace) => settings(api, `live/${studio}/trace`, show, name, trace)));
    for (const name of request.paradigms) scene.add(name);
    room.replaceChildren(...scene.elements);
    for (const button of [pause, step, end]) button.disabled = false;
    pause.textContent = "Pause";
    let points = null;
    try {
      await api.stream("live", request, (row) => {
        if (row.kind === "name") studio = row.name;
        if (row.kind === "start") points = row;
        if (row.kind === "progress") scene.progress(row, points);
        if (row.kind === "trace") { scene.put(row.name, unpacked(row.trace)); scene.play(); }
      }, mine.signal);
    } catch (error) {
      tell(error);
    } finally {
      if (abort === mine) for (const button of [pause, step, end]) button.disabled = true;
    }
  }

  return () => { abort?.abort(); show?.stop(); };
}

// Other ways to draw samples of a trained model.
function settings(api, path, show, name, trace) {
  const ask = async (value) => {
    const row = await api.post(path, { name, settings: value });
    show.put(name, unpacked(row.trace));
    show.play();
  };
  const { options } = trace;
  const field = (title, control) => h("label", { class: "field" }, title, control);
  const number = (value, attributes) => h("input", { type: "number", value, ...attributes });
  const controls = {
    sampler: options.samplers.length > 1 ? h("select", {}, options.samplers.map((item) => h("option", { value: item, selected: item === options.sampler }, item))) : null,
    steps: options.steps === null ? null : number(options.steps, { min: 1, max: 500 }),
    temperature: options.temperature === null ? null : number(options.temperature, { min: 0.05, max: 5, step: 0.05 }),
    given: options.classes.length ? h("select", {}, h("option", { value: "" }, "any"), options.classes.map((item, i) => h("option", { value: i }, item))) : null,
    guidance: options.classes.length ? number(1, { min: 0, max: 20, step: 0.5, disabled: true, title: "for a class that you choose" }) : null,
    seed: number(0, { min: 0 }),
  };
  controls.given?.addEventListener("change", () => { controls.guidance.disabled = controls.given.value === ""; });
  const titles = { sampler: "Solver", steps: "Steps", temperature: "Temperature", guidance: "Guidance", given: "Class", seed: "Seed" };
  const draw = async () => {
    const value = {};
    for (const [key, control] of Object.entries(controls)) if (control && control.value !== "") value[key] = key === "sampler" ? control.value : Number(control.value);
    if (value.sampler && value.sampler !== options.sampler && Number(controls.steps?.value) === options.steps) delete value.steps;
    if (value.sampler === options.sampler) delete value.sampler;
    if (value.given === undefined) delete value.guidance;
    button.disabled = true;
    await ask(value).finally(() => { button.disabled = false; });
  };
  const button = h("button", { type: "submit" }, "Draw again");
  return h("form", { class: "row again", onsubmit: (event) => { event.preventDefault(); draw().catch(tell); } },
    Object.entries(controls).filter(([, control]) => control).map(([key, control]) => field(titles[key], control)), button);
}

// A square to draw points on: each stroke scatters points around it.
function drawingPad() {
  const points = [];
  const canvas = h("canvas", { width: 520, height: 520, tabindex: 0, role: "img", "aria-label": "A square to draw on with a finger or a mouse" });
  const count = h("span", { class: "note", role: "status" }, "no points yet");
  const pen = canvas.getContext("2d");
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const paint = () => {
    pen.clearRect(0, 0, 520, 520);
    pen.fillStyle = getComputedStyle(canvas).color;
    for (const [x, y] of points) pen.fillRect(260 + 86 * x - 1.5, 260 - 86 * y - 1.5, 3, 3);
    count.textContent = points.length ? `${points.length.toLocaleString("en")} points` : "no points yet";
  };
  const add = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width - 0.5) * 6.05, y = (0.5 - (event.clientY - box.top) / box.height) * 6.05;
    for (let i = 0; i < 12 && points.length < 4000; i++) points.push([x + 0.08 * normal(), y + 0.08 * normal()]);
    paint();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); add(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) add(event); });
  const spiral = () => { points.length = 0; for (let i = 0; i < 1500; i++) { const a = 1 + 9 * Math.sqrt(Math.random()); points.push([a * 0.26 * Math.cos(a) + 0.06 * normal(), a * 0.26 * Math.sin(a) + 0.06 * normal()]); } paint(); };
  const element = h("div", { class: "pad", hidden: true }, canvas,
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => { points.length = 0; paint(); } }, "Clear"), h("button", { type: "button", onclick: spiral }, "A spiral"), count));
  return { element, points: () => points.map(([x, y]) => [Math.round(x * 1e3) / 1e3, Math.round(y * 1e3) / 1e3]) };
}
