// Place anything: a text, a file or a folder, and the sentences that decide its place.
import { h, tell } from "./shell.js";

const EXAMPLES = {
  "a name": "Stable Diffusion",
  "an abstract": `We introduce a generative model of images. A U-Net is trained to predict the noise that was added to an image at a random timestep, with a squared error. Unlike GANs, no discriminator is needed. To draw an image we start from Gaussian noise and denoise it in 50 steps of an ODE solver, in the latent space of a pretrained autoencoder. A frozen text encoder conditions the network, and classifier-free guidance sharpens its samples.`,
  "some code": `class Model(nn.Module):\n    def loss(self, x):\n        mu, log_var = self.encoder(x).chunk(2, dim=1)\n        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)\n        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")\n        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())\n        return reconstruction + kl\n\n    def sample(self, n):\n        return self.decoder(torch.randn(n, self.latent_dim))\n`,
};
const READ = /\.(md|markdown|rst|txt|py|ipynb|json|ya?ml|toml|ini|cfg|gin|html?)$|(^|\/)(readme|model_?card)$/i;
const SKIP = /(^|\/)(\.git|node_modules|__pycache__|\.venv|venv)\//;
const MOST_BYTES = 24e6, FILE_BYTES = 2e6;
const SIDES = { for: "for", against: "against", part: "a part or a property", wording: "wording as a whole", aside: "set aside" };

export function mount(element, api) {
  const text = h("textarea", { rows: 12, spellcheck: "false", "aria-label": "A name, a model card, an abstract, code or a configuration", placeholder: "Paste a name, a model card, an abstract, code or a configuration.\nOr drop a folder, a PDF or a file anywhere on this page." });
  const file = h("input", { type: "file", hidden: true, onchange: () => drop([...file.files].map((one) => ({ path: one.name, file: one }))) });
  const folder = h("input", { type: "file", webkitdirectory: true, multiple: true, hidden: true, onchange: () => drop([...folder.files].map((one) => ({ path: one.webkitRelativePath || one.name, file: one }))) });
  const reading = h("div", { class: "reading" });
  const verdict = h("section", { class: "verdict", "aria-live": "polite" });
  const go = h("button", { type: "button", class: "first", onclick: () => place({ text: text.value }) }, "Place it");
  const form = h("div", {}, text,
    h("div", { class: "row actions" }, go, h("button", { type: "button", onclick: () => file.click() }, "Choose a file"), h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder"), file, folder),
    h("p", { class: "note" }, "Try ", Object.entries(EXAMPLES).flatMap(([name, content], i) => [i ? ", " : "", h("button", { type: "button", class: "plain inline", onclick: () => { text.value = content; place({ text: content }); } }, name)]), ". Nothing leaves this machine."));
  element.append(h("div", { class: "page placing" },
    h("header", {}, h("h1", {}, "Place anything"), h("p", { class: "lead" }, "What is its training objective, and what is its sampling procedure? The answers place a system. The sentences that give them are marked.")),
    h("div", { class: "pair" }, h("div", {}, form, reading), verdict)));
  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) place({ text: text.value }); });
  empty();

  function empty() {
    verdict.replaceChildren(h("div", { class: "empty" }, h("p", {}, "The verdict stands here, with what speaks for it and against it.")));
  }

  async function place(request) {
    if (!(request.text ?? "x").trim()) return tell(new Error("There is nothing to place: paste something, or drop a file."));
    go.disabled = true;
    verdict.setAttribute("aria-busy", "true");
    try {
      show(await api.post("place", request));
    } catch (error) {
      tell(error);
    } finally {
      go.disabled = false;
      verdict.removeAttribute("aria-busy");
    }
  }

  async function drop(entries) {
    try {
      if (entries.length === 1 && /\.pdf$/i.test(entries[0].path)) {
        text.value = (await api.post("pdf", entries[0].file)).text;
        return place({ text: text.value });
      }
      const files = {};
      let size = 0;
      for (const { path, file: one } of entries.filter((entry) => entries.length === 1 || (READ.test(entry.path) && !SKIP.test(entry.path)))) {
        if ((size += Math.min(one.size, FILE_BYTES)) > MOST_BYTES) break;
        files[path] = await one.slice(0, FILE_BYTES).text();
      }
      if (!Object.keys(files).length) throw new Error("The folder must hold a card, a configuration or code, got none of them: drop another.");
      text.value = "";
      await place({ files });
    } catch (error) {
      tell(error);
    }
  }

  function show(result) {
    const rows = result.evidence.map((row, i) => ({ ...row, i }));
    reading.replaceChildren(...Object.entries(result.texts).filter(([, content]) => content.trim()).map(([name, content]) => readingOf(name, content, rows.filter((row) => (row.file ?? "") === name && row.start != null))));
    text.rows = 5;
    verdict.replaceChildren(verdictOf(result, rows));
    if (matchMedia("(max-width: 800px)").matches) verdict.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  function verdictOf(result, rows) {
    const cell = result.cell ?? "";
    const likeliest = result.ranked.slice(0, 4);
    return h("article", { class: "card", "data-cell": cell },
      h("p", { class: "note" }, result.subject.slice(0, 120)),
      h("h2", { class: "answer" }, cell ? h("span", { class: "chip" }, cell.replace("not-", "not ")) : "Not decided"),
      h("p", {}, cell ? (result.prior ? "By the catalogue alone." : `Confidence ${Math.round(100 * result.confidence)} %.`) : result.missing, result.also ? ` Its sampling procedure is ${result.also}; the objective decides.` : ""),
      result.reason ? h("blockquote", {}, result.reason) : null,
      likeliest.length > 1 || !cell ? h("ul", { class: "shares" }, likeliest.map(([name, share]) => h("li", { "data-cell": name }, h("span", {}, name), h("meter", { min: 0, max: 1, value: share, "aria-label": `${name} ${Math.round(share * 100)} %` }), h("span", {}, `${Math.round(share * 100)} %`)))) : null,
      result.objective ? [h("h3", {}, "Training objective"), h("p", {}, result.objective), h("h3", {}, "Sampling procedure"), h("p", {}, result.sampling)] : null,
      cell && result.objective ? h("dl", { class: "facts" }, [["likelihood", `${result.likelihood}${result.likelihood_of ? ` (of ${result.likelihood_of})` : ""}`], ["cost", result.cost], ["variant", result.variant], ["watch for", result.failures.map((mode) => mode.name).join(", ")]].filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])) : null,
      chainOf(result),
      Object.entries(SIDES).map(([side, title]) => evidenceList(rows.filter((row) => row.side === side), title)),
      result.would_change.length ? [h("h3", {}, "This would change the answer"), h("ul", {}, result.would_change.map((line) => h("li", {}, line)))] : null,
      result.notes.length ? h("p", { class: "note" }, result.notes.join(" ")) : null,
      result.system ? h("p", {}, h("a", { href: `#/map/${encodeURIComponent(result.system)}` }, "Show it on the map")) : null);
  }

  // The pieces in the order in which an example passes them; the generative step stands among them.
  function chainOf(result) {
    if (!result.parts.length || !result.cell) return null;
    const step = h("li", { "data-cell": result.cell, class: "step" }, h("b", {}, "the generative step"), result.objective, h("span", { class: "note" }, ` · ${result.sampling}`));
    const items = result.parts.map((part) => [part.stage, h("li", { "data-cell": part.cell ?? "" }, h("b", {}, part.role.replaceAll("_", " ")), part.says, part.objective ? h("span", { class: "note" }, ` · ${part.objective}`) : null)]);
    const at = (...stages) => items.filter(([stage]) => stages.includes(stage)).map(([, item]) => item);
    const late = at("after"), aside = at("training", "choice");
    const early = items.filter(([stage]) => !["after", "training", "choice"].includes(stage)).map(([, item]) => item);
    return [h("h3", {}, "Its pieces, in a chain"), h("ol", { class: "chain" }, early, step, late), aside.length ? [h("p", { class: "note" }, "In training alone, or for choosing:"), h("ul", { class: "chain loose" }, aside)] : null];
  }

  function evidenceList(rows, title) {
    if (!rows.length) return null;
    const quotes = [...Map.groupBy(rows, (row) => row.quote).values()].map((same) => ({ ...same[0], says: [...new Set(same.map((row) => row.says))].join("; ") }));
    const list = h("ul", { class: "evidence" }, quotes.slice(0, 8).map((row) => h("li", { "data-cell": row.cell ?? "" },
      h("button", { type: "button", disabled: row.start == null, title: row.where, onclick: () => jump(row.i) }, `“${row.quote}”`), h("span", { class: "note" }, ` ${row.says}`))));
    return h("details", { open: title === "for" || title === "against" }, h("summary", {}, `${title[0].toUpperCase()}${title.slice(1)} (${quotes.length})`), list);
  }

  function jump(i) {
    const mark = reading.querySelector(`mark[data-rows~="${i}"]`);
    if (!mark) return;
    mark.closest("details")?.setAttribute("open", "");
    mark.scrollIntoView({ behavior: "smooth", block: "center" });
    mark.classList.add("here");
    setTimeout(() => mark.classList.remove("here"), 1600);
  }

  const stop = (event) => { event.preventDefault(); element.classList.toggle("over", event.type === "dragover"); };
  element.addEventListener("dragover", stop);
  element.addEventListener("dragleave", stop);
  element.addEventListener("drop", async (event) => {
    stop(event);
    const plain = event.dataTransfer.getData("text/plain");
    const items = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (items.length) drop((await Promise.all(items.map((entry) => below(entry)))).flat());
    else if (plain) { text.value = plain; place({ text: plain }); }
  });
}

// All files below a dropped entry.
async function below(entry) {
  if (entry.isFile) return [{ path: entry.fullPath.replace(/^\//, ""), file: await new Promise((done, fail) => entry.file(done, fail)) }];
  const reader = entry.createReader(), files = [];
  for (;;) {
    const batch = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!batch.length || files.length > 5000) return files;
    for (const child of batch) files.push(...(SKIP.test(`${child.fullPath}/`) ? [] : await below(child)));
  }
}

// A text with its sentences and phrases marked, each run of letters by the weightiest evidence on it.
function readingOf(name, content, rows) {
  const bounds = new Set([0, content.length]);
  const spans = rows.flatMap((row) => {
    const [start, end] = sentence(content, row.start, row.end);
    return [{ row, start: row.start, end: row.end, phrase: true }, { row, start, end, phrase: false }];
  });
  for (const span of spans) { bounds.add(span.start); bounds.add(span.end); }
  const places = [...bounds].sort((a, b) => a - b);
  const pieces = places.slice(0, -1).map((start, i) => {
    const inside = spans.filter((span) => span.start <= start && span.end >= places[i + 1]);
    const part = content.slice(start, places[i + 1]);
    if (!inside.length) return part;
    const best = inside.sort((a, b) => b.phrase - a.phrase || (b.row.side === "for") - (a.row.side === "for") || b.row.weight - a.row.weight)[0];
    return h("mark", { "data-cell": best.row.cell ?? "", class: `${best.phrase ? "phrase" : ""} ${best.row.side}`, "data-rows": inside.filter((span) => span.phrase).map((span) => span.row.i).join(" "), title: best.phrase ? `${SIDES[best.row.side]}: ${best.row.says}` : null }, part);
  });
  const pre = h("div", { class: "marked", tabindex: 0, role: "region", "aria-label": name || "The text, with the deciding sentences marked" }, pieces);
  return name ? h("details", { open: rows.length > 0 }, h("summary", {}, h("code", {}, name)), pre) : pre;
}

function sentence(content, start, end) {
  const before = content.slice(Math.max(0, start - 600), start), after = content.slice(end, end + 600);
  const left = Math.max(...[...before.matchAll(/[.!?]\s+|\n\s*/g)].map((match) => match.index + match[0].length), 0);
  const right = after.search(/[.!?](\s|$)|\n/);
  return [start - before.length + left, end + (right < 0 ? after.length : right + (/[.!?]/.test(after[right]) ? 1 : 0))];
}
