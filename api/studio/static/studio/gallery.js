// The gallery by mouse and by keys. Without this, pages and forms do it.
import { byId, isCommand } from "./dom.js";
import { change, mayChange, remove } from "./gallery_changes.js";
import { open } from "./gallery_lightbox.js";
import { append, grid, selection } from "./gallery_list.js";

const list = byId("grid"), ids = () => grid.items.map((item) => item.id);
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -grid.columns, ArrowDown: () => grid.columns };

list.addEventListener("click", (event) => {
  const id = event.target.closest(".tile-cell")?.dataset.id, isCheck = event.target.closest(".tile-check");
  const chooses = isCheck || event.shiftKey || (isCommand(event) && mayChange);
  if (!id || !(isCheck ? event.target.matches("input") : event.target.closest("a"))) return; // the label's own click comes as the box's
  if (!isCheck) event.preventDefault();
  grid.focused = grid.indexOf(id);
  if (!chooses) return open(grid.focused);
  event.shiftKey ? selection.extend(id, ids()) : selection.toggle(id);
  grid.markFocusable();
});

list.addEventListener("keydown", (event) => {
  const id = event.target.closest(".tile-cell")?.dataset.id, place = id ? grid.indexOf(id) : grid.focused, { key, shiftKey } = event;
  const isPlain = !isCommand(event) && !event.altKey;
  if (isPlain && STEPS[key]) {
    if (shiftKey && !selection.has(id)) selection.toggle(id);
    grid.focus(place + STEPS[key]());
    if (shiftKey) selection.extend(grid.items[grid.focused].id, ids());
  } else if (isPlain && (key === "Home" || key === "End")) grid.focus(key === "Home" ? 0 : grid.length - 1);
  else if (isCommand(event) && key === "a") selection.set(ids(), true);
  else if (key === "Escape") selection.clear();
  else if (!isPlain || !mayChange || !pressed(event, id)) return;
  event.preventDefault();
});

/** Keys act on the chosen pictures, or else on the one that has the focus. Whether it was one. */
function pressed({ key, target }, id) {
  const chosen = selection.size ? [...selection.ids] : id ? [id] : [], item = grid.items[grid.indexOf(id)];
  if (id && (key === "x" || (key === " " && !target.matches("input")))) selection.toggle(id);
  else if (/^[0-5]$/.test(key)) change("rate", key, chosen);
  else if (key === "f") change("favourite", item?.favourite ? "no" : "yes", chosen);
  else if (key === "t" && chosen.length) { selection.set(chosen, true); byId("selection-tag").focus(); }
  else if (key === "Delete" || key === "Backspace") { remove(chosen); grid.focus(grid.focused); }
  else return false;
  return true;
}

history.scrollRestoration = "manual"; // the page is as long as what has been loaded of it
const first = list.innerHTML;
list.replaceChildren();
append(first);
