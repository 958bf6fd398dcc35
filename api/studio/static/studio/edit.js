// The page that edits a picture: its source, its form's draft, and what goes with its requests.
import { sendPicture } from "./dropping.js";
import { Easel } from "./easel.js";
import { notify } from "./notices.js";
import { text } from "./texts.js";
import "./make.js";

const UPLOAD = "/studio/edit/upload", DRAFT = "darkroom:edit:", SIDES = ["left", "top", "right", "bottom"], SAVE_AFTER = 400;
const CARRIED = ["prompt", "negative_prompt", "model_id"], NOT_KEPT = ["csrfmiddlewaretoken", "image", "mask", "kept"];
const byId = (id) => document.getElementById(id), fields = () => byId("prompt-form").elements;
const inputs = () => [...fields()].filter((one) => one.name && one.type !== "file" && !NOT_KEPT.includes(one.name));
const page = byId("edit"), { source, width, height, mask, job } = page?.dataset ?? {};
let easel = null, base = mask, timer = 0, hasSaid = false;

// Where pictures come from

async function take(file) {
  if (easel) save(""); // what was typed goes with it to the next picture
  const answer = await sendPicture(UPLOAD, file);
  if (answer) location.assign((await answer.json()).address);
}

/** A picture that steers is sent once, and named from then on. */
async function choose(box, input) {
  const answer = await sendPicture(UPLOAD, input.files[0]);
  input.value = "";
  if (answer) show(box, (await answer.json()).id);
}

function show(box, id) {
  const shown = box.querySelector(".picture-input-shown"), { address, empty } = shown.dataset;
  box.querySelector("[type=hidden]").value = id;
  box.querySelector("[data-forget]").hidden = !id;
  shown.replaceChildren(id ? Object.assign(new Image(), { src: address.replace(/[0-]{36}/, id), alt: "" }) : empty);
  changed();
}

document.addEventListener("darkroom:files", (event) => { event.preventDefault(); take(event.detail[0]); });
document.addEventListener("change", ({ target }) => {
  const box = target.closest("[data-picture-input]");
  if (target.type !== "file" || !target.files.length) return;
  if (box) choose(box, target);
  else if ("sourceFile" in target.dataset) take(target.files[0]);
});
document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-forget]")) show(target.closest("[data-picture-input]"), "");
});

// The draft

function changed() {
  clearTimeout(timer);
  timer = setTimeout(save, SAVE_AFTER, source);
}

/** Of this picture; or, under no id, what is carried to the next one. */
function save(id) {
  clearTimeout(timer);
  const { done, undone } = easel.painting, entries = inputs().map((one) => [one.name, one.value]);
  const draft = id ? { values: Object.fromEntries(entries), done, undone, job, mask: base } : { values: Object.fromEntries(entries.filter(([name]) => CARRIED.includes(name))) };
  try {
    sessionStorage.setItem(DRAFT + id, JSON.stringify(draft));
  } catch {
    if (!hasSaid) notify(text("noRoom"), { isError: true, seconds: 10 });
    hasSaid = true;
  }
}

/** What a job asked for comes before a draft that is not of it. */
function findDraft() {
  const [own, carried] = [source, ""].map((id) => JSON.parse(sessionStorage.getItem(DRAFT + id)));
  sessionStorage.removeItem(DRAFT);
  return job && own?.job !== job ? null : own ?? carried;
}

function restore({ values, done = [], undone = [] }) {
  for (const input of inputs()) {
    const value = values[input.name], box = input.closest("[data-picture-input]");
    if (value === undefined || (input.options && ![...input.options].some((one) => one.value === value))) continue;
    input.value = value;
    if (box) show(box, value);
  }
  Object.assign(easel.painting, { done, undone }).replay();
  easel.update();
  byId("model").dispatchEvent(new Event("change", { bubbles: true }));
}

// The page with a picture

function describe() {
  const whole = easel.whole(), grows = SIDES.some((side) => easel.grown(side)), bounds = easel.painting.bounds();
  const sizes = { from: `${width} × ${height}`, to: `${whole.width} × ${whole.height}` };
  byId("grown-size").textContent = grows ? text("grown", sizes) : "";
  byId("painted-share").value = bounds ? text("painted", { share: Math.ceil(bounds.share * 100) }) : grows ? "" : text("nothingPainted");
  if (bounds) byId("painting").open = true;
  byId("easel-mask").style.filter = `blur(${Number(fields().mask_blur?.value) || 0}px)`;
}

async function begin() {
  const sides = Object.fromEntries(SIDES.map((side) => [side, fields()[side]]));
  easel = new Easel(Number(width), Number(height), sides, () => { describe(); changed(); });
  const draft = findDraft();
  if (draft) base = draft.mask;
  if (base) await easel.painting.load(base).catch(() => notify(text("gone"), { isError: true }));
  if (draft) restore(draft);
  describe();
  byId("prompt-form").addEventListener("input", ({ target: { name } }) => {
    changed();
    if (SIDES.includes(name)) easel.mode ? easel.place() : easel.fit();
    if (SIDES.includes(name) || name === "mask_blur") describe();
  });
  addEventListener("pagehide", () => save(source));
}

document.addEventListener("htmx:configRequest", ({ detail: { elt, parameters } }) => {
  if (elt.id === "prompt-form") parameters.mask = easel.painting.toPng();
  if (!elt.elements?.box) return;
  const isTold = "prompted" in elt.elements.model_id.selectedOptions[0].dataset, { share, ...box } = (isTold && easel.painting.bounds()) || {};
  parameters.box = share ? JSON.stringify(box) : "";
});

const KEYS = { b: { tool: "brush" }, e: { tool: "eraser" }, h: { tool: "hand" } };
const COMMANDS = { i: "invert", Delete: "clear", "[": "smaller", "]": "larger", "+": "in", "=": "in", "-": "out", 0: "fit" };
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]");
  if (!easel || isTyping || event.altKey || document.querySelector("dialog[open]")) return;
  const isCommand = event.ctrlKey || event.metaKey, redo = event.shiftKey ? "redo" : "undo";
  const what = isCommand ? { z: redo, y: "redo" }[event.key.toLowerCase()] : COMMANDS[event.key], tool = isCommand ? null : KEYS[event.key];
  if (!what && !tool) return;
  event.preventDefault();
  easel.press(tool ?? { do: what });
}, { capture: true });

if (page) begin();
