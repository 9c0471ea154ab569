// Forms of several views: the settings of a request, a button that starts and stops a stream, and files for the server.
import { h, tell } from "./shell.js";

// Fields shared by several forms. `read()` gives the request, without what is left open.
export function controls(about, { n = 16, most = 1024, seeds = ["seed"], columns = false } = {}) {
  const fields = [];
  const add = (key, label, input, read) => { fields.push({ key, input, read }); return h("label", { class: "field" }, label, input); };
  const number = (value, attributes) => h("input", { type: "number", value, ...attributes });
  const whole = (input) => (input.value === "" ? undefined : Number(input.value));
  const rows = [...(n ? [add("n", "number", number(n, { min: 1, max: most }), whole)] : []), ...seeds.map((key, i) => add(key, key === "other" ? "to seed" : seeds.length > 1 ? "from seed" : "seed", number(i, { min: 0, max: 2147483647 }), whole))];
  if (about.given?.kind === "choice") rows.push(add("given", "condition", h("select", {}, h("option", { value: "" }, "any"), h("option", { value: "\u0000all" }, "each in turn"), about.given.names.map((value) => h("option", { value }, value))), (input) => (input.value === "\u0000all" ? about.given.names : input.value ? [input.value] : undefined)));
  if (about.given?.kind === "text") rows.push(add("given", "condition", h("input", { type: "text", placeholder: "a text" }), (input) => (input.value ? [input.value] : undefined)));
  if (about.samplers.length > 1) rows.push(add("sampler", "sampler", h("select", {}, about.samplers.map((value, i) => h("option", { value: i ? value : "" }, value))), (input) => input.value || undefined));
  if (about.steps_of_sampler || about.samplers.length > 1) rows.push(add("steps", "steps", number("", { min: 1, max: 1000, placeholder: about.steps_of_sampler ?? "" }), whole));
  if (about.guided) rows.push(add("guidance", "guidance", number("", { min: 0, max: 50, step: 0.5, placeholder: "1" }), whole));
  const [file, condition] = [h("input", { type: "file" }), about.given?.kind];
  if (condition === "numbers") rows.push(add("given", `condition: ${about.given.count} numbers`, h("input", { type: "text", placeholder: "0.5, 1, ..." }), (input) => (input.value.trim() ? input.value.trim().split(/[\s,;]+/) : undefined)));
  if (condition && condition !== "choice") rows.push(h("label", { class: "field" }, condition === "file" ? `condition: ${about.given.about}` : `or a file (${about.given.suffix ?? ".csv"})`, file));
  const grid = [];
  for (const set of [...(about.given?.kind === "columns" ? [about.given.columns] : []), ...(columns && about.fills ? [about.columns] : [])]) {
    for (const column of set.slice(0, 60)) {
      const input = column.categories.length ? h("select", {}, h("option", { value: "" }, ""), column.categories.map((value) => h("option", { value }, value))) : h("input", { type: "text", placeholder: "open, or 3..5" });
      fields.push({ key: "columns", input, read: () => (input.value === "" ? undefined : `${column.name}=${input.value}`) });
      grid.push(h("label", { class: "field" }, column.name, input));
    }
  }
  const require = h("input", { type: "text", placeholder: "a <= b" });
  if (columns && about.fills) fields.push({ key: "require", input: require, read: () => (require.value.trim() ? [require.value.trim()] : undefined) });
  return {
    element: h("div", { class: "controls" }, h("div", { class: "row" }, rows),
      grid.length ? h("details", { open: true }, h("summary", {}, "Given values: every other column is a gap that the model fills"), h("div", { class: "cells" }, grid), columns && about.fills ? h("label", { class: "field" }, "required", require) : null) : null),
    async read() {
      const request = file.files?.length ? { condition: await uploaded(file.files[0]) } : {};
      for (const { key, input, read } of fields) {
        const value = read(input);
        if (value === undefined) continue;
        if (request.condition && key === "given") continue; // a file takes the place of a field
        if (key === "columns") (request.given ??= []).push(value);
        else request[key] = key === "given" ? [...(request.given ?? []), ...value] : value;
      }
      return request;
    },
  };
}

// A button that starts a stream and stops it.
export function runner(label, start) {
  const status = h("span", { class: "note", role: "status" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress" });
  let control = null;
  const button = h("button", { type: "button", class: "first", onclick: () => (control ? control.abort() : go()) }, label);
  async function go() {
    const mine = (control = new AbortController());
    button.textContent = "Stop";
    button.setAttribute("aria-busy", "true");
    status.textContent = "working…";
    try {
      await start(mine.signal, { status, bar });
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "stopped" : "";
      tell(error);
    } finally {
      if (control === mine) control = null;
      button.textContent = label;
      button.removeAttribute("aria-busy");
      bar.hidden = true;
    }
  }
  return { element: h("div", { class: "row actions" }, button, bar, status), go, stop: () => control?.abort() };
}

// A file as the server takes it within a request.
export function uploaded(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve({ name: file.name, content: reader.result.slice(reader.result.indexOf(",") + 1) });
    reader.onerror = () => reject(new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(file);
  });
}
