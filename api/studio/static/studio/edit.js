// The page that edits a picture: its source, what was painted, and what goes with its requests.
import { all, byId, find, on, onClick } from "./dom.js";
import { fill, hasDraft, valuesOf } from "./drafts.js";
import { Easel } from "./easel.js";
import { complain } from "./notices.js";
import { sendPicture } from "./requests.js";
import { text } from "./texts.js";
import "./make.js";

const UPLOAD = "/studio/edit/upload", SIDES = ["left", "top", "right", "bottom"];
const CARRY = "darkroom:edit", CARRIED = ["prompt", "negative_prompt", "model_id"];
const page = byId("edit"), form = byId("prompt-form"), { width, height, mask } = page?.dataset ?? {}, PAINTING = `painting ${form?.dataset.of}`;
let easel = null, base = mask, hasSaid = false;

// Where pictures come from

async function take(file) {
  if (easel) sessionStorage.setItem(CARRY, JSON.stringify(valuesOf(form).filter(([name]) => CARRIED.includes(name))));
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
  const image = find("img", box), input = find("[type=hidden]", box);
  if (id) image.src = image.dataset.address.replace(/[0-]{36}/, id);
  box.classList.toggle("chosen", id !== "");
  input.value = id;
  input.dispatchEvent(new Event("input", { bubbles: true })); // for the draft
}

on("change", ({ target }) => {
  const box = target.closest("[data-picture-input]");
  if (target.type !== "file" || !target.files.length) return;
  if (box) choose(box, target);
  else if (target.matches("[data-drop-here]")) take(target.files[0]);
});
onClick("[data-forget]", (button) => show(button.closest("[data-picture-input]"), ""));

// The painting's draft; the form's own is in drafts.js

function save() {
  const { done, undone } = easel.painting;
  try {
    sessionStorage.setItem(PAINTING, JSON.stringify({ done, undone, mask: base }));
  } catch {
    if (!hasSaid) complain(text("noRoom"));
    hasSaid = true;
  }
}

/** What was painted here; and what was typed over another picture, where nothing was over this one. */
function restore() {
  const painted = JSON.parse(sessionStorage.getItem(PAINTING)), carried = JSON.parse(sessionStorage.getItem(CARRY));
  sessionStorage.removeItem(CARRY);
  if (carried && !hasDraft(form)) fill(form, carried);
  for (const box of all("[data-picture-input]")) show(box, find("[type=hidden]", box).value);
  if (carried || hasDraft(form)) byId("model").dispatchEvent(new Event("change", { bubbles: true })); // another model is steered otherwise
  return painted ?? { mask, done: [], undone: [] };
}

// The page with a picture

function describe() {
  const whole = easel.whole(), grows = SIDES.some((side) => easel.grown(side)), bounds = easel.painting.bounds();
  const sizes = { from: `${width} × ${height}`, to: `${whole.width} × ${whole.height}` };
  byId("grown-size").textContent = grows ? text("grown", sizes) : "";
  byId("painted-share").value = bounds ? text("painted", { share: Math.ceil(bounds.share * 100) }) : grows ? "" : text("nothingPainted");
  if (bounds) byId("painting").open = true;
  byId("easel-mask").style.filter = `blur(${Number(form.mask_blur?.value) || 0}px)`;
}

async function begin() {
  const sides = Object.fromEntries(SIDES.map((side) => [side, form.elements[side]]));
  easel = new Easel(Number(width), Number(height), sides, () => { describe(); save(); });
  const { mask: painted, done, undone } = restore();
  base = painted;
  if (base) await easel.painting.load(base).catch(() => complain(text("gone")));
  Object.assign(easel.painting, { done, undone }).replay();
  easel.update();
  describe();
  on("input", ({ target: { name } }) => {
    if (SIDES.includes(name)) easel.mode ? easel.place() : easel.fit();
    if (SIDES.includes(name) || name === "mask_blur") describe();
  }, { target: form });
}

on("htmx:configRequest", ({ detail: { elt, parameters } }) => {
  if (elt === form) parameters.mask = easel.painting.toPng();
  if (!elt.elements?.box) return;
  const isTold = "prompted" in elt.elements.model_id.selectedOptions[0].dataset, { share, ...box } = (isTold && easel.painting.bounds()) || {};
  parameters.box = share ? JSON.stringify(box) : "";
});

if (page) begin();
