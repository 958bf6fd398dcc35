// The page that edits a picture: its source, its form's draft, and what goes with its requests.
import { sendPicture } from "./dropping.js";
import { Easel } from "./easel.js";
import { notify } from "./notices.js";
import { text } from "./texts.js";
import "./make.js";

const UPLOAD = "/studio/edit/upload", DRAFT = "darkroom:edit:", SIDES = ["left", "top", "right", "bottom"], SAVE_AFTER = 400;
const page = document.getElementById("edit"), source = page?.dataset.source ?? "";
const form = () => document.getElementById("prompt-form");
const inputs = () => [...form().elements].filter((one) => one.name && !["csrfmiddlewaretoken", "image", "mask", "kept"].includes(one.name) && one.type !== "file");
let easel = null, timer = 0, hasSaid = false;

// ---------------------------------------------------------------- where the picture comes from

async function take(file) {
  if (easel) save(""); // what was typed goes with it to the next picture
  const answer = await sendPicture(UPLOAD, file);
  if (answer) location.assign((await answer.json()).address);
}

document.addEventListener("darkroom:file", (event) => { event.preventDefault(); take(event.detail); });
document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file" || !input.files.length) return;
  if ("sourceFile" in input.dataset) take(input.files[0]);
  else if (input.closest("[data-picture-input]")) choose(input.closest("[data-picture-input]"), input);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-forget]");
  if (button) show(button.closest("[data-picture-input]"), "");
});

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
  shown.replaceChildren(id ? Object.assign(new Image(), { src: address.replace(/0{8}-0{4}-0{4}-0{4}-0{12}/, id), alt: "" }) : empty);
  changed();
}

// ---------------------------------------------------------------- the draft

function changed() {
  clearTimeout(timer);
  timer = setTimeout(save, SAVE_AFTER, source);
}

function save(id) {
  clearTimeout(timer);
  const { done, undone } = easel.painting, values = Object.fromEntries(inputs().map((one) => [one.name, one.value]));
  const draft = id ? { values, done, undone, job: page.dataset.job } : { values: { prompt: values.prompt, negative_prompt: values.negative_prompt, model_id: values.model_id } };
  try {
    sessionStorage.setItem(DRAFT + id, JSON.stringify(draft));
  } catch {
    if (!hasSaid) notify(text("noRoom"), { isError: true, seconds: 10 });
    hasSaid = true;
  }
}

/** Of this picture; else what was typed for the one before. What a job asked for comes before a draft that is not of it. */
function findDraft() {
  const own = JSON.parse(sessionStorage.getItem(DRAFT + source) ?? "null"), carried = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  sessionStorage.removeItem(DRAFT);
  if (page.dataset.job && own?.job !== page.dataset.job) return null;
  return own ?? carried;
}

function restore(draft) {
  for (const input of inputs()) {
    const value = draft.values[input.name];
    if (value === undefined || (input.tagName === "SELECT" && ![...input.options].some((one) => one.value === value))) continue;
    input.value = value;
    const box = input.closest("[data-picture-input]");
    if (box) show(box, value);
  }
  Object.assign(easel.painting, { done: draft.done ?? [], undone: draft.undone ?? [] });
  easel.painting.replay();
  easel.update();
  document.getElementById("model").dispatchEvent(new Event("change", { bubbles: true }));
}

// ---------------------------------------------------------------- the page with a picture

function describe() {
  const { width, height } = page.dataset, [left, top, right, bottom] = SIDES.map((side) => easel.grown(side));
  const grows = left + top + right + bottom > 0, bounds = easel.painting.bounds();
  const words = { from: `${width} × ${height}`, to: `${Number(width) + left + right} × ${Number(height) + top + bottom}` };
  document.getElementById("grown-size").textContent = grows ? text("grown", words) : "";
  document.getElementById("painted-share").value = bounds ? text("painted", { share: Math.max(1, Math.round(bounds.share * 100)) }) : grows ? "" : text("nothingPainted");
  page.classList.toggle("is-painted", Boolean(bounds) || grows);
  if (bounds) document.getElementById("painting").open = true;
}

function feather() {
  const blur = Number(form().elements.mask_blur?.value) || 0;
  document.getElementById("easel-mask").style.filter = blur ? `blur(${blur}px)` : "";
}

async function begin() {
  const { width, height, mask, job } = page.dataset, sides = Object.fromEntries(SIDES.map((side) => [side, form().elements[side]]));
  easel = new Easel({ width: Number(width), height: Number(height) }, sides, () => { describe(); changed(); });
  if (mask) await easel.painting.load(mask).catch(() => notify(text("gone"), { isError: true }));
  const draft = findDraft();
  if (draft) restore(draft);
  feather();
  describe();
  form().addEventListener("input", (event) => {
    changed();
    if (event.target.name === "mask_blur") feather();
    if (SIDES.includes(event.target.name)) {
      if (easel.mode) easel.place();
      else easel.fit();
      describe();
    }
  });
  addEventListener("pagehide", () => save(source));
}

document.addEventListener("htmx:configRequest", (event) => {
  const { elt, parameters } = event.detail;
  if (elt.id === "prompt-form") parameters.mask = easel.painting.toPng();
  if (elt.elements?.box) {
    const isPrompted = "prompted" in elt.elements.model_id.selectedOptions[0].dataset, bounds = isPrompted && easel.painting.bounds();
    const { share, ...box } = bounds || {};
    parameters.box = bounds ? JSON.stringify(box) : "";
  }
});

const KEYS = { b: { tool: "brush" }, e: { tool: "eraser" }, h: { tool: "hand" }, i: { do: "invert" }, Delete: { do: "clear" }, "[": { do: "smaller" }, "]": { do: "larger" }, "+": { do: "in" }, "=": { do: "in" }, "-": { do: "out" }, 0: { do: "fit" } };
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]");
  if (!easel || isTyping || event.altKey || document.querySelector("dialog[open]")) return;
  const isCommand = event.ctrlKey || event.metaKey, letter = event.key.toLowerCase();
  const command = isCommand ? { z: { do: event.shiftKey ? "redo" : "undo" }, y: { do: "redo" } }[letter] : KEYS[event.key];
  if (!command) return;
  event.preventDefault();
  easel.press(command);
}, { capture: true });

if (page) begin();
