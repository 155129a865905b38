// What a person corrects: one image, all that are listed, or two classes that are one. The server keeps it in the data set's table.

import { el } from "./details.js";

const SENT = 5000, NONE = "(none)";
const short = (name) => (name.length > 80 ? name.slice(0, 80) + "…" : name);
const images = (count) => `${count.toLocaleString("en")} ${count === 1 ? "image" : "images"}`;

export class Corrections {
  // `ask` gets what the server says; `failed` shows an error; `changed` is called whenever the corrections did.
  constructor({ ask, failed, changed }) {
    Object.assign(this, { ask, failed, changed, state: { why_not: " " } });
  }

  async load() { this.state = await this.ask("corrections"); this.changed(); }

  // The name that was given to an image: undefined if none was, null if it is of no class.
  of(row) { return this.state.given?.[row]; }

  saying(row) { return this.of(row) === null ? "none of the classes" : this.of(row); }

  async tell(...messages) {
    try {
      for (const said of messages) {
        const reply = await fetch("corrections", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });
        if (!reply.ok) throw new Error(await reply.text());
        this.state = await reply.json();
      }
      this.failed(null);
    } catch (error) { this.failed(error instanceof TypeError ? new Error("nola explore does not run any more; start it again in the terminal.") : error); }
    this.changed();
  }

  about(rows, what) {
    const parts = [];
    for (let start = 0; start < rows.length; start += SENT) parts.push({ rows: rows.slice(start, start + SENT), ...what });
    return this.tell(...parts);
  }

  // What can be said of some images.
  box(rows) {
    if (this.state.why_not) return el("p", { className: "soft", textContent: this.state.why_not });
    const one = rows.length === 1, said = one ? this.saying(rows[0]) : undefined;
    const asked = one ? "Which class is it?" : "Which class are they?";
    const name = el("input", { type: "search", placeholder: asked, autocomplete: "off", ariaLabel: asked });
    name.setAttribute("list", "class-names");
    const button = (textContent, className, act) => {
      const node = el("button", { type: "button", textContent, className });
      node.addEventListener("click", act);
      return node;
    };
    const named = (act) => () => { if (name.value.trim()) act(name.value.trim()); else name.focus(); };
    const set = named((value) => this.about(rows, { class: value }));
    name.addEventListener("keydown", (event) => { if (event.key === "Enter") set(); });
    const parts = [
      name,
      button(one ? "It is of this class" : "They are of this class", "is-class", set),
      button("A new class of this name", "is-new", named((value) => this.about(rows, { new: value }))),
      button("None of the classes", "is-none", () => this.about(rows, { class: NONE })),
    ];
    const given = rows.filter((row) => this.of(row) !== undefined);
    if (given.length) {
      const text = one ? `Corrected: ${short(said)}` : `${images(given.length)} corrected`;
      parts.unshift(el("p", { className: "said", dir: "auto" }, el("span", { textContent: text }), button("Undo", "undo", () => this.undo(given))));
    }
    return el("div", { className: "correct" }, ...parts);
  }

  undo(rows) {
    const parts = [];
    for (let start = 0; start < rows.length; start += SENT) parts.push({ undo: rows.slice(start, start + SENT) });
    return this.tell(...parts);
  }

  // Whether two classes are one; `pair` are two class ids.
  merging(pair) {
    if (this.state.why_not || pair.length !== 2) return [];
    const names = pair.map((id) => this.state.classes[id]);
    const button = (into) => {
      const node = el("button", { type: "button", textContent: short(names[into]), title: names[into].slice(0, 300), dir: "auto" });
      node.addEventListener("click", () => this.tell({ merge: names[1 - into], into: names[into] }));
      return node;
    };
    return [el("p", { className: "soft", textContent: "Are these two classes one? Then call it" }), button(0), button(1)];
  }

  // Everything that was said, and what happens next.
  summary() {
    const { lines, pending, off, command, file, why_not: not } = this.state;
    if (not || !(lines.length || pending)) return [];
    const rows = lines.map(({ what, name, into, images: count, pending: waits }) => {
      const text = { class: `new class ${short(name)}`, merge: `${short(name)} is ${short(into ?? "")}`, images: `${images(count)}: ${name === NONE ? "none of the classes" : short(name)}` }[what];
      const node = el("button", { type: "button", className: "undo", textContent: "Undo" });
      node.addEventListener("click", () => this.tell({ undo: what, name }));
      return el("li", { className: waits ? "waits" : "" }, el("span", { textContent: text, dir: "auto" }), node);
    });
    const next = off ? [el("p", { textContent: "They do not count: corrections is false in the settings." })]
      : pending ? [el("p", { textContent: `Not in the results yet: ${pending.toLocaleString("en")}. Next:` }), el("code", { textContent: command })]
        : [el("p", { className: "soft", textContent: "All of them are in these results." })];
    return [el("h2", { textContent: "Corrections" }), el("ul", {}, ...rows), ...next, el("p", { className: "soft", textContent: `Kept in ${file}` })];
  }
}
