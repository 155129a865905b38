// The explorer: filters on the left, map and list in the middle, one image on the right.

import { Corrections } from "./corrections.js";
import { PointMap } from "./map.js";
import { el, fill, percent, tile } from "./details.js";

const LISTED = 120, LISTED_CLASSES = 200, BINS = 25;
const TEN = ["#4477aa", "#ee6677", "#228833", "#ccaa22", "#33aacc", "#aa3377", "#ee8833", "#77aa44", "#8866cc", "#997755"];
const STEPS = ["#46327e", "#3f568f", "#2f738e", "#24918d", "#37ae78", "#7ac850", "#c6d938", "#f5d33b"];
const TYPES = { f4: Float32Array, u2: Uint16Array, u1: Uint8Array };
const at = (id) => document.getElementById(id);

const state = { method: "", classes: new Set(), low: 0, high: 100, disagree: "", unknown: "", split: "", duplicate: false, area: null, found: null, colour: "class", order: "doubtful", chosen: -1 };
let about, columns, map, visible, classOf, confidence, different, listed = [], shown = 0, palette = [], looked = null;
const corrections = new Corrections({ ask, failed: problem, changed: corrected });

async function ask(path, kind = "json") {
  let reply;
  try { reply = await fetch(path); } catch { throw new Error("nola explore does not run any more; start it again in the terminal."); }
  if (!reply.ok) throw new Error(await reply.text());
  return reply[kind]();
}

function problem(error) { at("problem").textContent = error ? error.message : ""; }

async function start() {
  about = await ask("about");
  const block = await ask("columns", "arrayBuffer");
  columns = Object.fromEntries(about.columns.map(({ name, type, offset }) => {
    const Kind = TYPES[type], bytes = block.slice(offset, offset + about.images * Kind.BYTES_PER_ELEMENT);
    return [name, new Kind(bytes)];
  }));
  document.title = `${about.dataset} · explore`;
  at("title").textContent = about.dataset;
  map = new PointMap(at("map"), { hover, choose, area });
  window.nola = { state, map, get listed() { return listed; } };  // for tests and the curious
  controls();
  state.method = about.methods[0].name;
  const places = new Uint16Array(await ask("places", "arrayBuffer"));
  map.place(places);
  use();
  await corrections.load();
  if (!about.mapped) wait();
}

async function wait() {
  at("drawing").hidden = false;
  for (;;) {
    await new Promise((done) => setTimeout(done, 900));
    const now = await ask("map").catch((error) => ({ ready: true, problem: error.message }));
    if (!now.ready) continue;
    at("drawing").hidden = true;
    if (now.problem) problem(new Error(now.problem)); else map.place(new Uint16Array(await ask("places", "arrayBuffer")));
    return;
  }
}

function options(select, choices, changed) {
  select.replaceChildren(...choices.map(([value, text]) => el("option", { value, textContent: text.length > 90 ? text.slice(0, 90) + "…" : text })));
  select.addEventListener("change", () => changed(select.value));
}

function controls() {
  const { methods, groups, splits } = about, update = (key) => (value) => { state[key] = value; apply(); };
  options(at("method"), methods.map(({ name, title }, place) => [name, title + (place ? "" : " (final)")]), (value) => { state.method = value; use(); });
  const noun = (count) => `${count.toLocaleString("en")} ${count === 1 ? "image" : "images"}`;
  options(at("unknown"), [["", "all images"], ["misfit", "only these"], ["group", "only groups of these"], ...groups.map((group, place) =>
    [String(place + 1), `group ${place + 1}: ${noun(group.images)}, nearest ${group.names.map(([id]) => about.classes[id]).join(", ")}`])], update("unknown"));
  at("unknown-field").hidden = !about.scored;
  options(at("split"), [["", "all"], ...splits.map((name, place) => [String(place), name])], update("split"));
  at("split-field").hidden = splits.length < 2;
  options(at("colour"), [["class", "by class"], ["confidence", "by confidence"], ...(methods.length > 1 ? [["different", "by disagreement"]] : []), ...(about.scored ? [["score", "by unknown score"]] : [])], (value) => { state.colour = value; paint(); list(); });
  options(at("order"), [["doubtful", "least confident first"], ["confident", "most confident first"], ...(methods.length > 1 ? [["different", "most disagreement first"]] : []), ...(about.scored ? [["score", "those that fit least first"]] : [])], (value) => { state.order = value; list(); });
  at("disagree").addEventListener("change", () => update("disagree")(at("disagree").value));
  at("disagree").parentElement.hidden = methods.length < 2;
  for (const key of ["low", "high"]) at(key).addEventListener("input", () => {
    const low = Number(at("low").value), high = Number(at("high").value);
    if (low > high) at(key === "low" ? "high" : "low").value = at(key).value;
    state.low = Math.min(low, key === "high" ? high : low); state.high = Math.max(high, key === "low" ? low : high);
    apply();
  });
  at("duplicate").addEventListener("change", () => update("duplicate")(at("duplicate").checked));
  at("find-class").addEventListener("input", classes);
  let timer;
  at("find").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const text = at("find").value.trim();
      try { state.found = text ? new Set(await ask(`find?text=${encodeURIComponent(text)}`)) : null; apply(); } catch (error) { problem(error); }
    }, 200);
  });
  at("reset").addEventListener("click", reset);
  at("plus").addEventListener("click", () => map.zoom(1.6));
  at("minus").addEventListener("click", () => map.zoom(1 / 1.6));
  at("fit").addEventListener("click", () => map.fit());
  at("area").addEventListener("click", () => mode(!map.areaMode));
  at("more").addEventListener("click", more);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { histogram(); map.draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, canvas") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !listed.length) return;
    const place = listed.indexOf(state.chosen);
    choose(listed[Math.min(listed.length - 1, Math.max(0, place + step))]);
    event.preventDefault();
  });
}

function reset() {
  Object.assign(state, { low: 0, high: 100, disagree: "", unknown: "", split: "", duplicate: false, area: null, found: null });
  state.classes.clear();
  for (const id of ["disagree", "unknown", "split", "find", "find-class"]) at(id).value = "";
  at("low").value = 0; at("high").value = 100; at("duplicate").checked = false;
  apply();
}

function mode(on) {
  map.areaMode = on;
  at("area").setAttribute("aria-pressed", String(on));
  at("map").classList.toggle("area", on);
}

function area(rows) {
  mode(false);
  state.area = rows.length ? new Set(rows) : null;
  apply();
}

// Another method's predictions.
function use() {
  classOf = columns[`class:${state.method}`]; confidence = columns[`confidence:${state.method}`];
  different = new Uint8Array(about.images);
  for (const { name } of about.methods) {
    const other = columns[`class:${name}`];
    for (let i = 0; i < about.images; i++) different[i] += other[i] !== classOf[i];
  }
  const others = about.methods.filter(({ name }) => name !== state.method), before = state.disagree;
  at("disagree").replaceChildren(...[["", "all images"], ["*", "methods disagree"], ...others.map(({ name, title }) => [name, `${title} differs`])].map(([value, textContent]) => el("option", { value, textContent })));
  at("disagree").value = state.disagree = before === state.method ? "" : before;
  apply();
}

function passes(i, skip) {
  if (skip !== "class" && state.classes.size && !state.classes.has(classOf[i])) return false;
  if (skip !== "confidence") {
    const value = confidence[i] / 2.55;
    if (value < state.low - 0.2 || value > state.high + 0.2) return false;
  }
  if (state.disagree === "*" ? !different[i] : state.disagree && columns[`class:${state.disagree}`][i] === classOf[i]) return false;
  const flags = columns.flags[i];
  if (state.unknown === "misfit" ? !(flags & 1) : state.unknown === "group" ? !columns.group[i] : state.unknown && columns.group[i] !== Number(state.unknown)) return false;
  if (state.split !== "" && columns.split[i] !== Number(state.split)) return false;
  if (state.duplicate && !(flags & 2)) return false;
  return !(state.area && !state.area.has(i)) && !(state.found && !state.found.has(i));
}

function apply() {
  visible = new Uint8Array(about.images);
  let count = 0;
  for (let i = 0; i < about.images; i++) count += visible[i] = passes(i) ? 1 : 0;
  const all = about.images.toLocaleString("en"), drawn = about.whole > about.images ? ` (drawn from ${about.whole.toLocaleString("en")})` : "";
  at("count").textContent = (count === about.images ? `${all} images` : `${count.toLocaleString("en")} of ${all} images`) + drawn;
  at("reset").hidden = count === about.images;
  at("confidence-label").textContent = state.low > 0 || state.high < 100 ? `Confidence ${state.low} to ${state.high} %` : "Confidence";
  classes(); histogram(); paint(); list();
}

const classColour = (id) => (about.classes.length <= TEN.length ? TEN[id] : `hsl(${(id * 137.5) % 360} ${55 + (id % 3) * 12}% ${44 + (id % 4) * 6}%)`);

function classes() {
  const counts = new Uint32Array(about.classes.length), wanted = at("find-class").value.trim().toLocaleLowerCase();
  for (let i = 0; i < about.images; i++) if (passes(i, "class")) counts[classOf[i]]++;
  const rows = about.classes.map((name, id) => [id, name]).filter(([, name]) => !wanted || name.toLocaleLowerCase().includes(wanted));
  rows.sort((a, b) => state.classes.has(b[0]) - state.classes.has(a[0]) || counts[b[0]] - counts[a[0]] || a[0] - b[0]);
  at("classes").replaceChildren(...rows.slice(0, LISTED_CLASSES).map(([id, name]) => {
    const mark = el("i", { className: "dot" });
    mark.style.background = classColour(id);
    const button = el("button", { type: "button", title: name.slice(0, 300) }, mark, el("span", { className: "name", textContent: name.slice(0, 300), dir: "auto" }), el("span", { className: "number", textContent: counts[id].toLocaleString("en") }));
    button.setAttribute("aria-pressed", String(state.classes.has(id)));
    button.addEventListener("click", () => { if (!state.classes.delete(id)) state.classes.add(id); apply(); });
    return el("li", {}, button);
  }));
  at("merging").replaceChildren(...corrections.merging([...state.classes]));
  at("more-classes").textContent = rows.length > LISTED_CLASSES ? `and ${(rows.length - LISTED_CLASSES).toLocaleString("en")} more: search` : "";
}

function histogram() {
  const canvas = at("histogram"), ink = canvas.getContext("2d"), bins = new Uint32Array(BINS);
  canvas.width = canvas.clientWidth * 2; canvas.height = 88;
  for (let i = 0; i < about.images; i++) if (passes(i, "confidence")) bins[Math.min(BINS - 1, Math.floor(confidence[i] / 256 * BINS))]++;
  const most = Math.max(1, ...bins), width = canvas.width / BINS, style = getComputedStyle(document.documentElement);
  bins.forEach((count, bin) => {
    const inside = (bin + 1) * 100 / BINS > state.low && bin * 100 / BINS < state.high;
    ink.fillStyle = style.getPropertyValue(inside ? "--blue" : "--faint");
    const height = count ? Math.max(3, 86 * Math.sqrt(count / most)) : 0;
    ink.fillRect(bin * width + 1, 88 - height, width - 2, height);
  });
}

function paint() {
  const colours = new Uint16Array(about.images), score = columns.score;
  let ends = null, least = Infinity, most = -Infinity;
  if (state.colour === "class") {
    palette = Array.from({ length: Math.min(about.classes.length, 60) }, (_, id) => classColour(id));
    for (let i = 0; i < about.images; i++) colours[i] = classOf[i] % palette.length;
  } else {
    palette = STEPS;
    if (state.colour === "score") for (const value of score) { if (value >= 0) { least = Math.min(least, value); most = Math.max(most, value); } }
    const value = { confidence: (i) => confidence[i] / 255, different: (i) => different[i] / Math.max(1, about.methods.length - 1), score: (i) => (score[i] - least) / Math.max(1e-9, most - least) }[state.colour];
    for (let i = 0; i < about.images; i++) colours[i] = Math.max(0, Math.min(STEPS.length - 1, Math.floor(value(i) * STEPS.length)));
    ends = { confidence: ["0 %", "100 %"], different: ["all agree", "no other agrees"], score: [least.toFixed(2), most.toFixed(2)] }[state.colour];
  }
  state.colourOf = (row) => palette[colours[row]];
  at("legend").replaceChildren(...(ends ? [ends[0], ramp(), ends[1]] : []));
  map.paint(colours, palette, visible, state.colour === "class" ? [about.classes, classOf] : null);
}

function ramp() {
  const canvas = el("canvas", { width: STEPS.length, height: 1 }), ink = canvas.getContext("2d");
  STEPS.forEach((colour, place) => { ink.fillStyle = colour; ink.fillRect(place, 0, 1, 1); });
  return canvas;
}

const nameOf = (row) => {
  const said = corrections.saying(row);
  return said === undefined ? about.classes[classOf[row]].slice(0, 80) : `✎ ${said.slice(0, 80)}`;
};

// After a correction: the names in the list, what can be said of the images, and what was said.
function corrected() {
  at("class-names").replaceChildren(...(corrections.state.names ?? []).map((value) => el("option", { value })));
  at("corrections").replaceChildren(...corrections.summary());
  const kept = shown;
  classes();
  list();
  while (shown < Math.min(kept, listed.length)) more();
  if (looked) describe();
}

function describe() { fill(at("details"), looked, about, state, choose, nameOf, corrections.box([looked.row])); }

function all() {
  const some = listed.length < about.images && listed.length > 0;
  at("all").hidden = !some || Boolean(corrections.state.why_not);
  if (at("all").hidden) return;
  at("all").firstChild.textContent = `Correct ${listed.length === 1 ? "this image" : `all ${listed.length.toLocaleString("en")} of them`}`;
  at("all").lastChild.replaceChildren(corrections.box(listed));
}

function list() {
  const key = { doubtful: (i) => confidence[i], confident: (i) => -confidence[i], different: (i) => -different[i], score: (i) => -columns.score[i] }[state.order];
  listed = [];
  for (let i = 0; i < about.images; i++) if (visible[i]) listed.push(i);
  const sign = state.order === "confident" ? 1 : -1;  // of equally confident ones, those that other methods call otherwise are doubtful
  listed.sort((a, b) => key(a) - key(b) || sign * (different[a] - different[b]) || a - b);
  shown = 0;
  all();
  at("gallery").replaceChildren();
  at("list").scrollTop = 0;
  if (!listed.length) at("gallery").append(el("p", { className: "soft", textContent: "No image passes these filters." }));
  more();
}

function more() {
  const rows = listed.slice(shown, shown + LISTED);
  at("gallery").append(...rows.map((row) => tile(row, `${percent(confidence[row] / 255).replace(/\.\d/, "")} ${nameOf(row)}`, state.colourOf(row), choose)));
  shown += rows.length;
  at("more").hidden = shown >= listed.length;
  mark();
}

function mark() {
  for (const node of document.querySelectorAll(".tile")) {
    if (Number(node.dataset.row) === state.chosen) node.setAttribute("aria-current", "true"); else node.removeAttribute("aria-current");
  }
}

async function choose(row) {
  state.chosen = row;
  mark();
  map.show(row, []);
  try {
    const found = await ask(`details/${row}`);
    if (state.chosen !== row) return;
    problem(null);
    looked = found;
    describe();
    map.show(row, found.similar.map(([one]) => one));
    mark();
    if (innerWidth <= 980) at("details").scrollIntoView({ block: "nearest" });
  } catch (error) { problem(error); }
}

let pending;
function hover(row, x, y) {
  const tip = at("tip");
  if (row < 0) { tip.hidden = true; clearTimeout(pending); tip.dataset.row = ""; return; }
  const box = at("view").getBoundingClientRect();
  tip.style.transform = `translate(${x + 150 > box.width ? x - 148 : x + 16}px, ${Math.max(4, Math.min(y - 60, box.height - 180))}px)`;
  if (tip.dataset.row === String(row)) return;
  tip.dataset.row = String(row);
  at("tip-text").textContent = `${nameOf(row)} · ${percent(confidence[row] / 255)}`;
  clearTimeout(pending);
  pending = setTimeout(() => {
    const image = at("tip-image");
    image.onload = () => image.classList.toggle("small", image.naturalWidth <= 64);
    image.src = `thumbnail/${row}`;
    tip.hidden = false;
  }, tip.hidden ? 60 : 20);
}

start().catch(problem);
