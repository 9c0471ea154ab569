// The map: every system a dot, in territories of paradigms, along the years, or by what a sample costs.
import { h, tell } from "./shell.js";
import { Dots } from "./dots.js";
import d3 from "./vendor/d3.js";

const CELLS = ["autoregressive", "latent-variable", "adversarial", "diffusion", "flow", "energy", "not-generative"];
const COSTS = { constant: "one pass", length: "token after token", steps: "solver steps", chain: "Markov chain", not_applicable: "nothing is drawn" };
const LIKELIHOODS = { exact: "exact", lower_bound: "a lower bound", estimate: "an estimate", estimated_bound: "an estimated bound", unnormalised: "unnormalised", none: "none" };
const WEIGHTS = { open: "open", withheld: "withheld", unstated: "not stated" };
const GAP = 8; // between two dots, in units of the map
const LARGEST = 9; // radius of a dot
const FIRST = 1985;

export async function mount(element, api, here) {
  const data = await api.get("map");
  const dots = data.systems.map((row) => Object.fromEntries(data.columns.map((name, i) => [name, row[i]])));
  for (const dot of dots) Object.assign(dot, { x: 0, y: 0, cell: CELLS.indexOf(dot.paradigm), words: `${dot.name} ${dot.organisation} ${dot.id}`.toLowerCase() });
  const years = [FIRST, d3.max(dots, (dot) => dot.year)];
  const filter = { text: "", modality: "", likelihood: "", cost: "", weights: "", to: years[1], cell: "" };
  const picked = here.rest.filter((id) => dots.some((dot) => dot.id === id)).slice(0, 2);
  const chart = h("div", { class: "chart" });
  const side = h("div", { class: "side" });
  const count = h("span", { class: "count", role: "status" });
  let list = dots;

  const canvas = draw(chart, dots, data.paradigms, { pick, pickCell, layout: "paradigms", picked });
  const timeline = drawYears(dots, years, (to) => { filter.to = to; change(); });
  element.append(bar(), chart, timeline.element, side);
  canvas.start();

  function bar() {
    const choose = (key, title, options) => h("select", { "aria-label": title, onchange: (event) => { filter[key] = event.target.value; change(); } },
      h("option", { value: "" }, title), options.map(([value, text]) => h("option", { value }, text)));
    const modalities = [...new Set(dots.map((dot) => dot.modality))].sort().map((name) => [name, name]);
    const arrangements = [["paradigms", "Paradigms"], ["years", "Years"], ["costs", "Cost"]].map(([name, text]) =>
      h("button", { type: "button", "aria-pressed": String(name === "paradigms"), onclick: (event) => {
        for (const other of event.currentTarget.parentNode.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
        canvas.arrange(name);
      } }, text));
    return h("div", { class: "bar" },
      h("input", { type: "search", placeholder: "Find a system", "aria-label": "Find a system", value: here.query.get("q") ?? "", oninput: (event) => search(event.target.value), onkeydown: (event) => { if (event.key === "Enter" && list.length) pick(list[0].id); } }),
      h("div", { class: "choices", role: "group", "aria-label": "Arrange by" }, arrangements),
      choose("modality", "Any modality", modalities), choose("likelihood", "Any likelihood", Object.entries(LIKELIHOODS).map(([k, v]) => [k, `likelihood: ${v}`])),
      choose("cost", "Any cost", Object.entries(COSTS)), choose("weights", "Any weights", Object.entries(WEIGHTS).map(([k, v]) => [k, `weights: ${v}`])), count);
  }

  function matches(dot) {
    return dot.year <= filter.to && (!filter.text || dot.words.includes(filter.text)) && (!filter.cell || dot.paradigm === filter.cell)
      && ["modality", "likelihood", "cost", "weights"].every((key) => !filter[key] || dot[key] === filter[key]);
  }

  function change() {
    list = dots.filter(matches);
    const shown = new Set(list);
    for (const dot of dots) dot.hidden = !shown.has(dot);
    count.textContent = `${list.length.toLocaleString("en")} of ${dots.length.toLocaleString("en")} systems`;
    canvas.refresh();
    timeline.refresh(list);
    if (!picked.length && !filter.cell) showList();
  }

  // A search leaves the card of a system for the list.
  function search(text) {
    filter.text = text.trim().toLowerCase();
    picked.length = 0;
    filter.cell = "";
    remember();
    change();
  }

  function pick(id, beside = false) {
    if (beside && picked.length && picked[0] !== id) picked.splice(1, 1, id);
    else picked.splice(0, 2, id);
    showPicked();
  }

  // What the side shows. The keyboard stays there, though the button that it pressed is gone.
  function show(...children) {
    const within = side.contains(document.activeElement);
    side.replaceChildren(...children);
    if (within) side.querySelector("button, a")?.focus({ preventScroll: true });
  }

  function pickCell(cell) {
    picked.length = 0;
    filter.cell = filter.cell === cell ? "" : cell;
    change();
    if (filter.cell) showParadigm(cell);
  }

  function remember() {
    if (element.isConnected) history.replaceState(null, "", `#/map${picked.map((id) => `/${encodeURIComponent(id)}`).join("")}`);
    canvas.refresh();
  }

  async function showPicked() {
    remember();
    element.classList.toggle("wide", picked.length === 2);
    if (!picked.length) return change();
    const cards = await api.get("systems").catch(tell);
    if (!cards) return;
    const close = h("button", { type: "button", class: "plain", onclick: () => { picked.length = 0; showPicked(); } }, "← All systems");
    const boxes = picked.map((id) => systemCard(dots.find((dot) => dot.id === id), cards[id]));
    const two = picked.length === 2;
    show(close, h("div", { class: two ? "beside" : "" }, boxes), ...(two ? [] : [besideForm()]));
    side.scrollTop = 0;
    if (getComputedStyle(element).display === "flex") side.scrollIntoView(); // on a phone it stands below the map
  }

  function besideForm() {
    const input = h("input", { list: "systems", placeholder: "Another system", "aria-label": "Another system to put beside this one" });
    const names = new Map(dots.map((dot) => [dot.name, dot.id]));
    input.addEventListener("change", () => names.has(input.value) && pick(names.get(input.value), true));
    return h("section", {}, h("h3", {}, "Put beside"), input, h("datalist", { id: "systems" }, dots.map((dot) => h("option", { value: dot.name }))),
      h("p", { class: "note" }, "Or hold Shift while you choose a dot."));
  }

  function showParadigm(cell) {
    element.classList.remove("wide");
    const facts = data.paradigms[cell];
    const close = h("button", { type: "button", class: "plain", onclick: () => pickCell(cell) }, "← All systems");
    show(close, paradigmCard(cell, facts), names());
  }

  function showList() {
    element.classList.remove("wide");
    show(h("h1", { class: "h2" }, "The map of generative models"),
      h("p", { class: "note" }, "Two answers place a system: what is its training objective, and what is its sampling procedure? Choose a dot, a territory or a name. The best known come first."), names());
  }

  function names() {
    const rows = list; // the best known first
    const box = h("ol", { class: "names", "aria-label": "Systems" });
    const more = (from) => {
      box.append(...rows.slice(from, from + 60).map((dot) => h("li", {}, h("button", { type: "button", onclick: (event) => pick(dot.id, event.shiftKey) },
        h("span", { class: "chip", "data-cell": dot.paradigm }, dot.name), h("small", {}, dot.year)))));
      if (from + 60 < rows.length) box.append(h("li", {}, h("button", { type: "button", class: "plain", onclick: (event) => { event.currentTarget.parentNode.remove(); more(from + 60); } }, `${rows.length - from - 60} more`)));
    };
    more(0);
    return rows.length ? box : h("p", { class: "empty" }, "No system is like that. Take a filter away.");
  }

  change();
  if (picked.length) await showPicked();
  return () => { canvas.stop(); timeline.stop(); };
}

function linkTo(address, text = address.replace(/^https?:\/\//, "")) {
  return h("a", { href: address, target: "_blank", rel: "noreferrer noopener" }, text);
}

function systemCard(dot, card) {
  const weights = dot.weights === "open" ? ["open: ", linkTo(card.weights)] : WEIGHTS[dot.weights];
  const rows = [["likelihood", LIKELIHOODS[dot.likelihood]], ["cost of a sample", COSTS[dot.cost]], ["weights", weights], ["conditions", card.conditioning.join(", ")], ["also called", card.aliases.join(", ")], ["inherits", card.inherited.join(", ").replaceAll("_", " ")]];
  return h("article", { class: "system", "data-cell": dot.paradigm },
    h("span", { class: "chip" }, dot.paradigm), h("h1", { class: "h2" }, dot.name), h("p", { class: "note" }, `${dot.year} · ${dot.organisation} · ${dot.modality}`),
    h("h3", {}, "What is its training objective?"), h("p", {}, card.objective),
    h("h3", {}, "What is its sampling procedure?"), h("p", {}, card.sampling),
    h("dl", { class: "facts" }, rows.filter(([, text]) => text).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
    h("h3", {}, card.components.length > 1 ? "Its pieces, in a chain" : "Its piece"),
    h("ol", { class: "chain" }, card.components.map((part) => h("li", {}, h("b", {}, part.name), part.role, part.trained ? h("span", { class: "note" }, ` · trained ${part.trained}`) : null))),
    h("h3", {}, "Sources"), h("ul", { class: "sources" }, card.source.map((link) => h("li", {}, linkTo(link)))));
}

function paradigmCard(cell, facts) {
  if (!facts) return h("article", { class: "system", "data-cell": cell }, h("h1", { class: "h2" }, h("span", { class: "chip" }, "not generative")), h("p", {}, "Beyond the border: labels, vectors, codes or one best answer. A generative model has p(x) or p(x given c), and draws from it."));
  return h("article", { class: "system", "data-cell": cell }, h("h1", { class: "h2" }, h("span", { class: "chip" }, cell)), h("p", {}, facts.represents),
    h("h3", {}, "What is its training objective?"), h("p", {}, facts.objective), h("p", { class: "formula" }, facts.objective_formula),
    h("h3", {}, "What is its sampling procedure?"), h("p", {}, facts.sampling), h("p", { class: "formula" }, facts.sampling_formula),
    h("dl", { class: "facts" }, [["likelihood", `${LIKELIHOODS[facts.likelihood]}: ${facts.likelihood_note}`], ["cost", facts.cost_note], ["gives", facts.gives], ["drawbacks", facts.drawbacks],
      ["watch for", facts.failures.map((mode) => mode.name).join(", ")]].flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
    h("ul", { class: "sources" }, facts.papers.map((paper) => h("li", {}, linkTo(paper.link, `${paper.authors} ${paper.year}`)))));
}

// The timeline: how many systems of each paradigm came out in each year, and a slider that plays them.
function drawYears(dots, [first, last], onYear) {
  const slider = h("input", { type: "range", min: first, max: last, value: last, "aria-label": "Until the year" });
  const output = h("span", {}, `until ${last}`);
  const play = h("button", { type: "button", class: "play" }, "▶ ", output);
  const svg = d3.create("svg").attr("viewBox", "0 0 1000 44").attr("preserveAspectRatio", "none").attr("aria-hidden", "true");
  let timer = null;
  const set = (year) => { slider.value = year; output.textContent = `until ${year}`; onYear(year); };
  const stop = () => { timer?.stop(); timer = null; play.firstChild.textContent = "▶ "; };
  slider.addEventListener("input", () => { stop(); set(Number(slider.value)); });
  play.addEventListener("click", () => {
    if (timer) return stop();
    let year = Number(slider.value) >= last ? first : Number(slider.value);
    play.firstChild.textContent = "❚❚ ";
    timer = d3.interval(() => { set(year); if (year++ >= last) stop(); }, 320);
  });
  const x = d3.scaleBand(d3.range(first, last + 1), [8, 992]).paddingInner(0.15);
  const bars = (list) => {
    const rows = d3.rollup(list, (group) => group.length, (dot) => Math.max(first, dot.year), (dot) => dot.paradigm);
    const most = d3.max(d3.rollup(dots, (group) => group.length, (dot) => Math.max(first, dot.year)).values());
    return [...rows].flatMap(([year, cells]) => {
      let top = 44;
      return CELLS.filter((cell) => cells.has(cell)).map((cell) => { const tall = (42 * cells.get(cell)) / most; top -= tall; return { year, cell, top, tall }; });
    });
  };
  return {
    element: h("div", { class: "years" }, play, svg.node(), slider), stop,
    refresh(list) {
      svg.selectAll("rect").data(bars(list), (row) => `${row.year} ${row.cell}`).join("rect").attr("x", (row) => x(row.year)).attr("width", x.bandwidth())
        .attr("y", (row) => row.top).attr("height", (row) => row.tall).attr("style", null).each(function (row) { this.style.fill = `var(--${row.cell})`; });
    },
  };
}

// The canvas: dots move to where an arrangement puts them, labels stand where there is room.
function draw(box, dots, facts, options) {
  const canvas = h("canvas", { tabindex: 0, role: "img", "aria-label": `Map of ${dots.length} systems in ${CELLS.length} territories. The list beside it has the same systems.` });
  const tip = h("div", { class: "tip", hidden: true });
  const zoomBy = (factor) => d3.select(canvas).transition().duration(200).call(zoom.scaleBy, factor);
  box.append(canvas, tip, h("div", { class: "zoom" },
    h("button", { type: "button", "aria-label": "Zoom in", onclick: () => zoomBy(1.6) }, "+"), h("button", { type: "button", "aria-label": "Zoom out", onclick: () => zoomBy(1 / 1.6) }, "−"),
    h("button", { type: "button", "aria-label": "Show the whole map", onclick: () => d3.select(canvas).transition().duration(300).call(zoom.transform, d3.zoomIdentity) }, "⤢")));
  const context = canvas.getContext("2d");
  let view = d3.zoomIdentity, base = { k: 1, x: 0, y: 0 }, size = [1, 1], titles = [], colours = {}, hover = null, tree = null, frame = 0, moving = null, ink = null;
  let arrangement = options.layout;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const byFame = dots;

  const zoom = d3.zoom().scaleExtent([0.8, 40]).on("zoom", (event) => { view = event.transform; tip.hidden = true; paint(); });
  d3.select(canvas).call(zoom).on("dblclick.zoom", null);
  const toScreen = (x, y) => [view.applyX(x * base.k + base.x), view.applyY(y * base.k + base.y)];
  const scale = () => base.k * view.k;

  function at(event) {
    const [px, py] = d3.pointer(event, canvas);
    const x = (view.invertX(px) - base.x) / base.k, y = (view.invertY(py) - base.y) / base.k;
    const dot = tree?.find(x, y, Math.max(GAP * 0.7, 12 / scale()));
    const title = titles.find((row) => row.cell && row.box && px > row.box[0] && px < row.box[2] && py > row.box[1] && py < row.box[3]);
    return { dot, title, px, py };
  }
  canvas.addEventListener("pointermove", (event) => {
    const { dot, title, px, py } = at(event);
    canvas.classList.toggle("over", Boolean(dot || title));
    if (dot !== hover) { hover = dot; paint(); }
    tip.hidden = !dot;
    if (!dot) return;
    tip.replaceChildren(h("b", {}, dot.name), `${dot.year} · ${dot.organisation} · ${dot.modality}`);
    tip.style.left = `${Math.min(px + 14, size[0] - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(py + 14, size[1] - tip.offsetHeight - 8)}px`;
  });
  canvas.addEventListener("pointerleave", () => { hover = null; tip.hidden = true; paint(); });
  canvas.addEventListener("click", (event) => {
    const { dot, title } = at(event);
    if (dot) options.pick(dot.id, event.shiftKey);
    else if (title) options.pickCell(title.cell);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (step) { event.preventDefault(); d3.select(canvas).call(zoom.translateBy, step[0] / view.k, step[1] / view.k); }
    if (event.key === "+" || event.key === "=") zoomBy(1.4);
    if (event.key === "-") zoomBy(1 / 1.4);
    if (event.key === "0") d3.select(canvas).call(zoom.transform, d3.zoomIdentity);
  });

  function arrange(name, quick = false) {
    arrangement = name;
    const plan = ARRANGEMENTS[name](dots, size[0] / size[1]);
    titles = plan.titles;
    const k = Math.min(size[0] / plan.width, size[1] / plan.height);
    base = { k, x: (size[0] - k * plan.width) / 2, y: (size[1] - k * plan.height) / 2 };
    zoom.translateExtent([[-size[0] * 0.3, -size[1] * 0.3], [size[0] * 1.3, size[1] * 1.3]]).extent([[0, 0], size]);
    const from = dots.map((dot) => [dot.x, dot.y]);
    const set = (t) => { const e = d3.easeCubicInOut(t); dots.forEach((dot, i) => { dot.x = from[i][0] + e * (plan.points[i][0] - from[i][0]); dot.y = from[i][1] + e * (plan.points[i][1] - from[i][1]); }); };
    moving?.stop();
    const end = () => { set(1); moving?.stop(); moving = null; refresh(); };
    if (quick || still.matches) return end();
    d3.select(canvas).call(zoom.transform, d3.zoomIdentity);
    moving = d3.timer((elapsed) => { if (elapsed > 700) return end(); set(elapsed / 700); paint(); });
  }

  function refresh() {
    tree = d3.quadtree(dots.filter((dot) => !dot.hidden), (dot) => dot.x, (dot) => dot.y);
    paint();
  }
  function paint() { frame ||= requestAnimationFrame(() => { frame = 0; render(); }); }

  function render() {
    const ratio = devicePixelRatio || 1, [width, height] = size;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const k = scale(), radius = Math.max(1.2, Math.min(LARGEST, GAP * 0.38 * k));
    for (const row of titles) if (row.ground) ground(row, k);
    ink ??= new Dots(canvas.width, canvas.height, CELLS.map((cell) => colours[cell]), radius * ratio, LARGEST * ratio);
    ink.round(radius * ratio);
    for (const hidden of dots.some((dot) => dot.hidden) ? [true, false] : [false]) {
      context.globalAlpha = hidden ? 0.13 : 1;
      ink.clear();
      for (const dot of dots) {
        if (Boolean(dot.hidden) !== hidden) continue;
        const [x, y] = toScreen(dot.x, dot.y);
        ink.put(x * ratio, y * ratio, dot.cell);
      }
      ink.show(context);
    }
    context.globalAlpha = 1;
    const taken = [];
    for (const row of titles) title(row, taken);
    if (!moving) labels(radius, taken);
    for (const dot of dots) if (dot === hover || options.picked.includes(dot.id)) ring(dot, radius);
  }

  function ground(row, k) {
    const [x, y] = toScreen(row.ground[0], row.ground[1]);
    context.fillStyle = colours[row.cell];
    context.globalAlpha = 0.08;
    context.beginPath();
    if (row.ground.length === 3) context.arc(x, y, row.ground[2] * k, 0, 7);
    else context.roundRect(x, y, row.ground[2] * k, row.ground[3] * k, 6);
    context.fill();
    context.globalAlpha = 1;
  }

  function title(row, taken) {
    let [x, y] = toScreen(row.x, row.y);
    const room = row.ground?.length === 3 ? 2 * row.ground[2] * scale() + 10 : Infinity;
    let text = row.text;
    context.font = `${row.cell ? "650 15px" : "12.5px"} ${colours.font}`;
    if (context.measureText(text).width > room) text = text.replace(/ \d+$/, ""); // the number is left out before the name
    if (context.measureText(text).width > room) context.font = `650 12.5px ${colours.font}`;
    const width = context.measureText(text).width, left = row.align === "left" ? x : x - width / 2;
    if (row.every && taken.some((other) => left < other[2] + 6 && left + width > other[0] - 6 && Math.abs(other[1] + 10 - y) < 10)) return (row.box = null);
    row.box = [left - 4, y - 14, left + width + 4, y + 5];
    context.textAlign = "left";
    context.lineWidth = 4;
    context.strokeStyle = colours.paper;
    context.lineJoin = "round";
    context.strokeText(text, left, y);
    context.fillStyle = row.cell ? colours[row.cell] : colours.soft;
    context.fillText(text, left, y);
    taken.push(row.box);
  }

  // Names stand where no title, no other name and no other named dot is.
  function labels(radius, taken) {
    const grid = new Set(taken.flatMap((box) => cellsOf(box))), narrow = size[0] < 800;
    const named = [], texts = [];
    let drawn = 0;
    for (const dot of byFame) {
      if (dot.hidden || dot.zoom > Math.log2(view.k) + 0.6) continue;
      const [x, y] = toScreen(dot.x, dot.y);
      if (x >= 0 && y >= 0 && x <= size[0] && y <= size[1] && named.push({ dot, x, y }) === 160) break;
    }
    context.font = `${narrow ? 11.5 : 12.5}px ${colours.font}`;
    context.textAlign = "left";
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    for (const { dot, x, y } of named) {
      const lines = halves(dot.name), wide = Math.max(...lines.map((line) => context.measureText(line).width)) + 4;
      if (narrow && wide > 110) continue; // a long name would reach into another territory
      const hides = (box, at) => at.x > box[0] - radius && at.x < box[2] + radius && at.y > box[1] - radius && at.y < box[3] + radius;
      const free = (box) => box[0] > 0 && box[1] > 0 && box[2] < size[0] && box[3] < size[1] && !cellsOf(box).some((cell) => grid.has(cell)) && !named.some((other) => other.dot !== dot && hides(box, other));
      const box = places(x, y, radius, wide, 14 * lines.length + 1).find(free);
      if (!box) continue;
      for (const cell of cellsOf(box)) grid.add(cell);
      const near = [0, 1].map((i) => Math.min(Math.max([x, y][i], box[i]), box[i + 2]));
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      if (Math.hypot(near[0] - x, near[1] - y) > radius + 4) { context.moveTo(x, y); context.lineTo(...near); } // to a name further off
      context.stroke();
      drawn++;
      texts.push(...lines.map((line, i) => [line, box[0] + 2, box[1] + 12 + 14 * i]));
    }
    context.lineWidth = 4;
    context.strokeStyle = colours.paper;
    for (const text of texts) context.strokeText(...text);
    context.fillStyle = colours.ink;
    for (const text of texts) context.fillText(...text);
    canvas.dataset.names = drawn;
  }

  // Where the name of a dot may stand: beside it, above and below it, and up to four lines further off.
  function places(x, y, radius, wide, tall) {
    const right = x + radius + 2, left = x - radius - 2 - wide, middle = x - wide / 2, beside = y - tall / 2, above = y - radius - 2 - tall, below = y + radius + 2;
    const near = [[right, beside], [left, beside], [middle, above], [middle, below]];
    const further = [12, 24, 36, 48].flatMap((by) => [[right, beside - by], [right, beside + by], [left, beside - by], [left, beside + by], [middle, above - by], [middle, below + by]]);
    return [...near, ...further].map(([a, b]) => [a, b, a + wide, b + tall]);
  }

  function ring(dot, radius) {
    const [x, y] = toScreen(dot.x, dot.y);
    context.beginPath();
    context.arc(x, y, radius + 3, 0, 7);
    context.lineWidth = 2;
    context.strokeStyle = colours.ink;
    context.stroke();
  }

  function paints() {
    const style = getComputedStyle(document.documentElement);
    for (const name of [...CELLS, "ink", "soft", "paper"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
    colours.font = getComputedStyle(document.body).fontFamily;
    ink = null;
    paint();
  }
  const observer = new ResizeObserver(() => {
    if (!box.clientWidth || !box.clientHeight) return; // it is being taken away
    size = [box.clientWidth, box.clientHeight];
    const ratio = devicePixelRatio || 1;
    [canvas.width, canvas.height] = size.map((length) => Math.round(length * ratio));
    ink = null;
    arrange(arrangement, true);
  });
  return {
    arrange, refresh,
    start() { paints(); observer.observe(box); dark.addEventListener("change", paints); },
    stop() { observer.disconnect(); dark.removeEventListener("change", paints); moving?.stop(); cancelAnimationFrame(frame); },
  };
}

// A long name in two lines.
function halves(name) {
  const spaces = [...name.matchAll(/ /g)].map((match) => match.index);
  if (name.length < 16 || !spaces.length) return [name];
  const at = d3.least(spaces, (i) => Math.abs(i - name.length / 2));
  return [name.slice(0, at), name.slice(at + 1)];
}

// The squares of a coarse grid that a box covers.
function cellsOf([left, top, right, bottom]) {
  const cells = [];
  for (let i = Math.floor(left / 12); i <= right / 12; i++) for (let j = Math.floor(top / 7); j <= bottom / 7; j++) cells.push(`${i},${j}`);
  return cells;
}

const ARRANGEMENTS = {
  // Territories: each grows in rings from its oldest system.
  paradigms(dots, aspect) {
    const groups = d3.group([...dots].sort((a, b) => a.year - b.year), (dot) => dot.paradigm);
    const circles = CELLS.filter((cell) => groups.has(cell)).map((cell) => ({ cell, list: groups.get(cell), r: GAP * (0.56 * Math.sqrt(groups.get(cell).length) + 1.2) }));
    const plan = pack(circles, aspect);
    const where = new Map();
    for (const { list, x, y } of circles) list.forEach((dot, i) => { const r = GAP * 0.56 * Math.sqrt(i + 0.5), a = i * 2.399963; where.set(dot, [x + r * Math.cos(a), y + r * Math.sin(a)]); });
    return { ...plan, points: dots.map((dot) => where.get(dot)), titles: circles.map(({ cell, list, x, y, r }) => ({ cell, text: `${cell.replace("not-", "not ")} ${list.length}`, x, y: y - r - 5, ground: [x, y, r] })) };
  },
  years: (dots, aspect) => bands(dots, aspect, (dot) => Math.max(FIRST, dot.year), (year) => (year === FIRST ? "≤ 1985" : String(year))),
  costs: (dots, aspect) => bands(dots, aspect, (dot) => dot.cost, (cost) => COSTS[cost], Object.keys(COSTS)),
};

// Circles in rows, as many in a row as suit the shape of the window.
function pack(circles, aspect) {
  const plans = d3.range(1, circles.length + 1).map((across) => {
    const rows = d3.range(0, circles.length, across).map((i) => circles.slice(i, i + across));
    const width = d3.max(rows, (row) => d3.sum(row, (c) => 2 * c.r + 14)) + 14;
    const height = d3.sum(rows, (row) => 2 * d3.max(row, (c) => c.r) + 34) + 10;
    return { rows, width, height, k: Math.min(aspect / width, 1 / height) };
  });
  const best = d3.greatest(plans, (plan) => plan.k);
  let y = 0;
  for (const row of best.rows) {
    const tall = d3.max(row, (c) => c.r), free = (best.width - d3.sum(row, (c) => 2 * c.r)) / (row.length + 1);
    let x = 0;
    for (const circle of row) { x += free + circle.r; Object.assign(circle, { x, y: y + 30 + tall }); x += circle.r; }
    y += 2 * tall + 34;
  }
  return { width: best.width, height: best.height };
}

// A band for each paradigm, a column for each value: dots fill a cell from below, as wide as its fullest needs.
function bands(dots, aspect, key, text, order) {
  const columns = order ?? [...new Set(dots.map(key))].sort();
  const cells = d3.group(dots, (dot) => dot.paradigm, key);
  const counts = CELLS.map((cell) => columns.map((column) => cells.get(cell)?.get(column)?.length ?? 0));
  const plans = d3.range(4, 40).map((rows) => {
    const across = columns.map((_, j) => Math.max(order ? 3 : 1, d3.max(counts, (row) => Math.ceil(row[j] / rows))));
    const deep = counts.map((row) => Math.max(2, d3.max(row, (n, j) => Math.ceil(n / across[j]))));
    const width = d3.sum(across, (n) => (n + 0.8) * GAP) + 20, height = d3.sum(deep, (n) => n * GAP + 26) + 24;
    return { across, deep, width, height, k: Math.min(aspect / width, 1 / height) };
  });
  const { across, deep, width, height } = d3.greatest(plans, (plan) => plan.k);
  const titles = [], where = new Map();
  let y = 20;
  CELLS.forEach((cell, i) => {
    const floor = y + 22 + deep[i] * GAP;
    let x = 10;
    columns.forEach((column, j) => {
      const list = [...(cells.get(cell)?.get(column) ?? [])].sort((a, b) => a.year - b.year);
      list.forEach((dot, n) => where.set(dot, [x + (n % across[j] + 0.9) * GAP, floor - (Math.floor(n / across[j]) + 0.5) * GAP]));
      if (i === 0) titles.push({ text: text(column), x: Math.max(x + ((across[j] + 0.8) * GAP) / 2, 16), y: 10, every: true });
      x += (across[j] + 0.8) * GAP;
    });
    titles.push({ cell, text: cell.replace("not-", "not "), x: 14, y: y + 16, align: "left", ground: [6, y, width - 12, deep[i] * GAP + 24] });
    y = floor + 4;
  });
  return { width, height, points: dots.map((dot) => where.get(dot)), titles };
}
