// The form of a grid of variants.
import { byId, makeButton, onClick } from "./dom.js";

const form = byId("variants-form"), choice = byId("parameter"), values = byId("amounts"), LARGEST_DRAWN = 2 ** 32;

/** What the chosen parameter takes: a range, or names, which a click adds. */
function hint() {
  const { hint: range = "", names = "" } = choice.selectedOptions[0].dataset;
  values.disabled = !choice.value;
  byId("value-hint").replaceChildren(range, ...names.split(",").filter(Boolean).map((name) => makeButton(name, () => {
    put(values, [values.value, name].filter(Boolean).join(", "));
  })));
}

function put(input, value) {
  input.value = value;
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

choice.addEventListener("input", () => { values.value = ""; hint(); });
onClick("#draw-seeds", () => put(form.seeds, Array.from({ length: 3 }, () => Math.floor(Math.random() * LARGEST_DRAWN)).join(", ")));
hint();
