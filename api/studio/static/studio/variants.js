// The form of a grid of variants, and the cells of a finished one.
const choice = document.getElementById("parameter"), values = document.getElementById("amounts");
const form = document.getElementById("variants-form"), LARGEST_DRAWN = 2 ** 32;

/** What the chosen parameter takes: a range, or names, which a click adds. */
function hint() {
  const { hint: range = "", names = "" } = choice.selectedOptions[0].dataset, box = document.getElementById("value-hint");
  values.disabled = !choice.value;
  box.replaceChildren(range);
  for (const name of names.split(",").filter(Boolean)) {
    box.append(Object.assign(document.createElement("button"), { type: "button", className: "plain small", textContent: name, value: name }));
  }
}

const changed = () => form.dispatchEvent(new Event("input", { bubbles: true }));
choice.addEventListener("change", () => { values.value = ""; hint(); });
document.getElementById("value-hint").addEventListener("click", ({ target }) => {
  if (!target.value) return;
  values.value = [values.value, target.value].filter(Boolean).join(", ");
  changed();
});
document.getElementById("draw-seeds").addEventListener("click", () => {
  form.seeds.value = Array.from({ length: 3 }, () => Math.floor(Math.random() * LARGEST_DRAWN)).join(", ");
  changed();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.contains(event.target)) form.requestSubmit();
});
document.addEventListener("click", (event) => {
  const cell = event.target.closest("[data-cell]");
  if (!cell || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  htmx.ajax("GET", cell.getAttribute("href"), { target: "#lightbox-content", swap: "innerHTML" });
});

// What is typed stays over a reload of the page, until it is filled in with another request.
const DRAFT = "darkroom:variants", NAMES = ["prompt", "part", "variants", "seeds", "parameter", "amounts"];
const filledIn = [form.base.value, ...NAMES.map((name) => form[name].value)].join("\n");
try {
  const kept = JSON.parse(sessionStorage.getItem(DRAFT));
  if (kept?.filledIn === filledIn) for (const name of NAMES) form[name].value = kept.values[name];
} catch { /* a browser that keeps nothing */ }
form.addEventListener("input", () => {
  const values = Object.fromEntries(NAMES.map((name) => [name, form[name].value]));
  try { sessionStorage.setItem(DRAFT, JSON.stringify({ filledIn, values })); } catch { /* as above */ }
});
hint();
