// The frame of the page: which view is shown, how views ask the server, and how errors are told.

const live = document.body.dataset.live === "true";

// A view is a module with `mount(element, api, route)`; what it returns is called when another view takes its place.
const VIEWS = [
  { name: "paradigms", title: "Paradigms", load: () => import("./paradigms.js") },
  { name: "map", title: "Map", load: () => import("./map.js") },
  { name: "place", title: "Place", load: () => import("./place.js"), live: true },
  { name: "runs", title: "Runs", load: () => import("./run.js"), live: true },
  { name: "compare", title: "Compare", load: () => import("./compare.js"), live: true },
  { name: "exported", title: "Run", load: () => import("./exported.js"), run: true },
].filter((view) => (live || !view.live) && (!view.run || document.body.dataset.run === "true"));

// `get` reads JSON: from the server, or from a file beside an exported page. The others need the server.
export const api = {
  live,
  get: async (path) => (live ? answer(await fetch(`api/${path}.json`)) : recorded(path)),
  post: async (path, body, signal) => answer(await send(path, body, signal)),
  async stream(path, body, onRow, signal) {
    const response = await send(path, body, signal);
    if (!response.ok) await answer(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const row = JSON.parse(line);
        if (row.error) throw new Error(row.error);
        onRow(row);
      }
      if (done) return;
    }
  },
};

// Data of an exported page is in scripts, because a browser fetches nothing from a disk.
function recorded(path) {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Error(`api/${path}.js must be beside this page`));
    document.head.append(h("script", { src: `api/${path}.js`, onload: () => resolve(globalThis.recorded[path]), onerror: lost }));
  });
}

function send(path, body, signal) {
  const raw = body instanceof Blob || body instanceof ArrayBuffer;
  return fetch(`api/${path}`, { method: "POST", body: raw ? body : JSON.stringify(body), signal });
}

async function answer(response) {
  const type = response.headers.get("content-type") ?? "";
  const content = type.includes("json") ? await response.json() : null;
  if (response.ok && content !== null) return content;
  throw new Error(content?.error ?? `the server answered ${response.status} ${response.statusText}`);
}

// Elements by one call: `h("p", { class: "note" }, "text", child)`. Text is never read as HTML.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

// A name with parts, which may break behind each part.
export const parts = (name) => name.split("/").flatMap((part, i) => (i ? ["/", h("wbr"), part] : [part]));

// A picture that the server drew: scripts are dropped. Its styles are set one by one, since the policy refuses attributes;
// quotes within texts are escaped there, so ` style="` begins an attribute.
export function picture(html) {
  const parsed = new DOMParser().parseFromString(html.replaceAll(' style="', ' data-style="'), "text/html").body;
  for (const element of parsed.querySelectorAll("script, iframe, object, embed, link, style, form")) element.remove();
  for (const element of parsed.querySelectorAll("*")) {
    for (const { name } of [...element.attributes]) if (name.startsWith("on")) element.removeAttribute(name);
  }
  for (const element of parsed.querySelectorAll("[data-style]")) element.style.cssText = element.dataset.style;
  return h("div", { class: "picture" }, [...parsed.childNodes]);
}

export function tell(error) {
  const notice = document.querySelector("#notice");
  if (error?.name === "AbortError") return;
  notice.replaceChildren(
    h("span", {}, error?.message ?? String(error)),
    h("button", { type: "button", onclick: () => (notice.hidden = true), "aria-label": "Close this message" }, "×"),
  );
  notice.hidden = false;
}

const element = document.querySelector("#view");
const links = document.querySelector("#views");
let leave = null;
let current = "";
let turn = 0; // counts the views that were asked for, so that a slow one does not take the place of a later one

// The route is the hash: #/view/rest?key=value
export function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  return { name: name || VIEWS[0].name, rest, query: new URLSearchParams(query) };
}

async function show() {
  const here = route();
  const view = VIEWS.find((other) => other.name === here.name);
  if (current === location.hash && leave) return;
  current = location.hash;
  const mine = ++turn;
  leave?.();
  leave = null;
  for (const link of links.children) {
    if (link.dataset.view === here.name) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  document.querySelector("#notice").hidden = true;
  if (!view) return element.replaceChildren(h("div", { class: "empty" }, h("h1", {}, "No such view"), h("p", {}, h("a", { href: "#/" }, "Go to the first one."))));
  document.title = `${view.title} · fourfold`;
  element.replaceChildren(h("p", { class: "empty", role: "status" }, "Loading…"));
  try {
    const module = await view.load();
    if (mine !== turn) return;
    const room = h("div", { class: `view ${view.name}` });
    element.replaceChildren(room);
    const left = (await module.mount(room, api, here)) ?? (() => {});
    if (mine !== turn) return left();
    leave = left;
  } catch (error) {
    if (mine === turn) element.replaceChildren(h("div", { class: "empty" }, h("h1", {}, "This view could not be shown"), h("p", {}, error.message)));
  }
}

links.append(...VIEWS.map((view) => h("a", { href: `#/${view.name}`, "data-view": view.name }, view.title)));
addEventListener("hashchange", show);
addEventListener("unhandledrejection", (event) => tell(event.reason));
addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, [contenteditable]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const view = VIEWS[Number(event.key) - 1];
  if (view) location.hash = `#/${view.name}`;
  if (event.key === "/") {
    const search = element.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
});
show();
