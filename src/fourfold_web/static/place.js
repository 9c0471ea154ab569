// Place anything: filled in below.
import { h } from "./shell.js";
export async function mount(element) {
  element.append(h("div", { class: "page" }, h("h1", {}, "Place a system")));
}
