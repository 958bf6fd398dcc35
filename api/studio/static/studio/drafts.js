// What was typed into a form is there again after a reload, a log-in or another language, for the same person in the same tab.
import { all, on } from "./dom.js";

const KEPT = "form[data-draft]", EVERY = "main form[id]"; // "sent": until it was sent; "stays": until it is filled in otherwise; data-of: what it is about
const key = ({ id, dataset: { of = "" } }) => `draft ${location.pathname} ${id} ${of} ${document.body.dataset.person}`;

export const valuesOf = (form) => [...new FormData(form)].filter(([name, value]) => typeof value === "string" && name !== "csrfmiddlewaretoken");

/** Of several fields of one name each takes the next value; what has no field, or is no option any more, is left out. */
export function fill(form, values) {
  const left = [...values], names = new Set(values.map(([name]) => name)), wants = (box) => values.some(([name, value]) => name === box.name && value === box.value);
  for (const field of form.elements) {
    const isBox = field.type === "checkbox", place = left.findIndex(([name]) => name === field.name);
    if (place < 0 && !(isBox && names.has(field.name))) continue;
    const value = isBox ? wants(field) : left.splice(place, 1)[0][1], what = isBox ? "checked" : "value";
    const before = field[what];
    field[what] = value;
    if (field[what] !== value) field[what] = before;
    if (field[what] === before) continue;
    field.closest("details")?.setAttribute("open", "");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

const served = Object.fromEntries(all(EVERY).map((form) => [form.id, JSON.stringify(valuesOf(form))])); // a draft is of these
const save = (form) => sessionStorage.setItem(key(form), JSON.stringify([served[form.id], valuesOf(form)]));

export const hasDraft = (form) => sessionStorage.getItem(key(form)) !== null;

for (const form of all(EVERY)) {
  const [of, typed] = JSON.parse(sessionStorage.getItem(key(form)) ?? "[]");
  if (!form.matches(KEPT)) sessionStorage.removeItem(key(form));
  if (of === served[form.id]) fill(form, typed);
}
on("input", ({ target: { form } }) => { if (form?.matches(KEPT)) save(form); });
on("submit", ({ target }) => { if (target.id === "languages") all(EVERY).forEach(save); }); // which loads the page anew
on("htmx:afterRequest", ({ detail: { elt, successful, xhr } }) => {
  if (elt.matches("[data-draft=sent]") && successful && !xhr.getResponseHeader("HX-Reswap")) sessionStorage.removeItem(key(elt));
});
