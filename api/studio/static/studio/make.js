// The prompt box: what a form of HTML can't do by itself. It may be replaced as a whole, by one filled in from a picture: so by delegation.
import { keepDraft } from "./drafts.js";
import { text } from "./texts.js";

const SLIDERS = { steps: 1, guidance_scale: 0.5, strength: 0.05, mask_blur: 1 }, MOST_STREAMS = 2, LARGEST_DRAWN = 2 ** 32, SIDE_STEP = 8;
const field = (name) => document.querySelector(`#prompt-form [name=${name}]`);
const model = () => document.getElementById("model").selectedOptions[0];
let lastSeed = "";

function set(name, value) {
  const input = field(name);
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

// ---------------------------------------------------------------- sliders beside numbers, and the seed's buttons

function prepare() {
  for (const [name, step] of Object.entries(SLIDERS)) {
    const input = field(name);
    if (!input || input.parentElement.querySelector("[type=range]")) continue;
    const slider = Object.assign(document.createElement("input"), { type: "range", min: input.min, max: input.max, step, tabIndex: -1 });
    slider.setAttribute("aria-hidden", "true"); // the number says the same
    input.setAttribute("aria-label", input.closest("label").firstChild.textContent.trim()); // the label's own is its first: the slider
    slider.addEventListener("input", () => set(name, slider.value));
    input.before(slider);
  }
  const seed = field("seed");
  if (seed && !document.getElementById("seed-buttons")) {
    const buttons = document.createElement("span");
    buttons.id = "seed-buttons";
    buttons.append(makeButton("seed-dice", "⚄", text("dice"), () => set("seed", Math.floor(Math.random() * LARGEST_DRAWN))));
    buttons.append(makeButton("seed-lock", "", "", () => set("seed", seed.value ? "" : lastSeed || Math.floor(Math.random() * LARGEST_DRAWN))));
    seed.closest("label").after(buttons);
    buttons.closest(".more-fields").classList.add("with-seed");
  }
  addLoraButton();
  follow();
}

function makeButton(id, label, title, click) {
  const button = Object.assign(document.createElement("button"), { type: "button", id, textContent: label, title, className: "quiet" });
  if (title) button.setAttribute("aria-label", title);
  button.addEventListener("click", click);
  return button;
}

/** What depends on other fields: the sliders' places, the model's own values, which shape it is. */
function follow() {
  const { steps, guidance, size, here, facts } = model().dataset;
  field("steps").placeholder = steps;
  field("guidance_scale").placeholder = guidance;
  const hasShapes = document.querySelector("[data-shape]"); // a picture that is edited has its own
  if (hasShapes) field("width").placeholder = field("height").placeholder = size;
  for (const name of Object.keys(SLIDERS)) {
    const input = field(name);
    if (input) input.parentElement.querySelector("[type=range]").value = input.value || input.placeholder;
  }
  const lock = document.getElementById("seed-lock");
  if (lock) {
    const isLocked = field("seed").value !== "";
    lock.textContent = text("keep");
    lock.setAttribute("aria-pressed", isLocked);
    lock.title = text(isLocked ? "locked" : "unlocked");
  }
  const [width, height] = ["width", "height"].map((name) => Number(field(name).value || size));
  for (const button of document.querySelectorAll("[data-shape]")) {
    const [wide, high] = sides(button.dataset.shape);
    button.setAttribute("aria-pressed", wide === width && high === height);
  }
  document.querySelector(".model-facts-text").textContent = here ? facts : [facts, text("notHere")].filter(Boolean).join(" – ");
  document.getElementById("load-model")?.toggleAttribute("hidden", Boolean(here));
}

/** As many pixels as the model's own size has, in multiples of what it takes. */
function sides(shape) {
  const [wide, high] = shape.split(":").map(Number), side = Number(model().dataset.size);
  const round = (value) => Math.max(64, Math.min(2048, Math.round(value / SIDE_STEP) * SIDE_STEP));
  const factor = Math.sqrt(wide / high);
  return [round(side * factor), round(side / factor)];
}

function addLoraButton() {
  const box = document.getElementById("loras");
  if (!box || document.getElementById("add-lora")) return;
  const button = makeButton("add-lora", text("addLora"), "", () => {
    const row = [...box.querySelectorAll(".lora")].at(-1), copy = row.cloneNode(true);
    copy.querySelectorAll("input").forEach((input) => { input.value = ""; });
    row.after(copy);
    copy.querySelector("input").focus();
    button.hidden = box.querySelectorAll(".lora").length >= 8;
  });
  box.append(button);
}

document.addEventListener("input", (event) => { if (event.target.closest("#prompt-form")) follow(); });
document.addEventListener("change", (event) => {
  if (event.target.closest("#prompt-form")) follow();
  if (event.target.id === "picture-file" && event.target.files.length) {
    document.dispatchEvent(new CustomEvent("darkroom:picture", { detail: event.target.files[0] }));
    event.target.value = "";
  }
});
document.addEventListener("click", (event) => {
  const shape = event.target.closest("[data-shape]"), prompt = event.target.closest("[data-prompt]");
  if (shape) {
    const [width, height] = sides(shape.dataset.shape);
    set("width", width);
    set("height", height);
  }
  if (prompt) {
    set("prompt", prompt.dataset.prompt);
    document.getElementById("history").hidePopover();
    field("prompt").focus();
  }
  const load = event.target.closest("#load-model");
  if (load) {
    htmx.ajax("POST", load.dataset.address, { target: "#stage", swap: "afterbegin", values: { model_id: model().value } });
  }
});
document.addEventListener("htmx:load", (event) => { if (event.detail.elt.id === "prompt-form") prepare(); });

// ---------------------------------------------------------------- cards of jobs

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "stage") return;
  const card = event.target.querySelector(".job");
  card?.scrollIntoView({ block: "nearest" });
  if (card?.dataset.seed) lastSeed = card.dataset.seed;
  // A browser opens six connections to a server for all of its tabs: older cards let their streams go and ask instead.
  for (const other of [...event.target.querySelectorAll("[sse-connect]")].slice(MOST_STREAMS)) {
    htmx.ajax("GET", other.dataset.card, { target: other, swap: "outerHTML" });
  }
});

if (field("prompt")) prepare();
keepDraft("prompt-form");
const asked = sessionStorage.getItem("darkroom:prompt"); // a part of a chat's answer, on its way from there
if (asked) {
  sessionStorage.removeItem("darkroom:prompt");
  set("prompt", asked);
}
