// The prompt box: what a form of HTML can't do by itself. It may be replaced as a whole, by one filled in from a picture: so by delegation.
import { all, byId, clamp, find, on, onClick } from "./dom.js";
import { text } from "./texts.js";

const MOST_STREAMS = 2, MOST_LORAS = 8, SIDE_STEP = 8, LEAST_SIDE = 64, MOST_SIDE = 2048;
const field = (name) => find(`#prompt-form [name=${name}]`);
const model = () => byId("model").selectedOptions[0];
const drawSeed = () => Math.floor(Math.random() * 2 ** 32);
let lastSeed = "";

function put(input, value) {
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

/** What depends on other fields: the sliders' places, the model's own values, which shape it is. */
function follow() {
  const { steps, guidance, size, here, facts } = model().dataset, lock = byId("seed-lock");
  field("steps").placeholder = steps;
  field("guidance_scale").placeholder = guidance;
  if (find("[data-shape]")) field("width").placeholder = field("height").placeholder = size; // a picture that is edited has its own
  for (const { nextElementSibling: input } of all("[data-slider]")) input.previousElementSibling.value = input.value || input.placeholder;
  if (lock) {
    lock.ariaPressed = field("seed").value !== "";
    lock.title = lock.dataset[field("seed").value ? "locked" : "unlocked"];
  }
  const [width, height] = ["width", "height"].map((name) => Number(field(name).value || size));
  for (const button of all("[data-shape]")) button.ariaPressed = String(sides(button.dataset.shape)) === String([width, height]);
  find(".model-facts-text").textContent = here ? facts : [facts, text("notHere")].filter(Boolean).join(" – ");
  byId("load-model")?.toggleAttribute("hidden", Boolean(here));
}

/** As many pixels as the model's own size has, in multiples of what it takes. */
function sides(shape) {
  const [wide, high] = shape.split(":").map(Number), side = Number(model().dataset.size), factor = Math.sqrt(wide / high);
  return [side * factor, side / factor].map((one) => clamp(Math.round(one / SIDE_STEP) * SIDE_STEP, LEAST_SIDE, MOST_SIDE));
}

on("input change", ({ target }) => {
  if (target.matches("[data-slider]")) put(target.nextElementSibling, target.value);
  if (target.closest("#prompt-form")) follow();
});
onClick("#seed-dice", () => put(field("seed"), drawSeed()));
onClick("#seed-lock", () => put(field("seed"), field("seed").value ? "" : lastSeed || drawSeed()));
onClick("[data-shape]", ({ dataset }) => sides(dataset.shape).forEach((side, number) => put(field(["width", "height"][number]), side)));
onClick("[data-prompt]", ({ dataset }) => {
  put(field("prompt"), dataset.prompt);
  field("prompt").focus();
});
onClick("#add-lora", (button) => {
  const rows = all(".lora"), copy = rows.at(-1).cloneNode(true);
  for (const input of all("input", copy)) input.value = "";
  rows.at(-1).after(copy);
  find("input", copy).focus();
  button.hidden = rows.length + 1 >= MOST_LORAS;
});
on("htmx:load", ({ detail }) => { if (detail.elt.id === "prompt-form") follow(); });

// A card of a job has come.
on("htmx:afterSwap", ({ target }) => {
  if (target.id !== "stage") return;
  const card = find(".job", target);
  card?.scrollIntoView({ block: "nearest" });
  lastSeed = card?.dataset.seed || lastSeed;
  // A browser opens six connections to a server for all of its tabs: older cards let their streams go and ask instead.
  for (const other of all("[sse-connect]", target).slice(MOST_STREAMS)) {
    htmx.ajax("GET", other.dataset.card, { target: other, swap: "outerHTML" });
  }
});

if (field("prompt")) follow();
const asked = sessionStorage.getItem("darkroom:prompt"); // a part of a chat's answer, on its way from there
sessionStorage.removeItem("darkroom:prompt");
if (asked) put(field("prompt"), asked);
