// One picture, over the gallery: with an address of its own, and the neighbours that it has in this list.
import { byId, find, isCommand, on } from "./dom.js";
import { remove } from "./gallery_changes.js";
import { grid, more, update } from "./gallery_list.js";

const dialog = byId("lightbox"), NEAR_THE_END = 10;
let opened = null, wanted = null; // keys may be faster than the server

export async function open(place) {
  const item = grid.items[place];
  if (!item) return;
  grid.focused = place;
  wanted = item.id;
  const address = grid.elements.get(place)?.querySelector("a").href ?? `/studio/images/${item.id}/`;
  await htmx.ajax("GET", address, { target: "#lightbox-content", swap: "innerHTML" });
  if (wanted !== item.id) return; // meanwhile it was closed, or the next one asked for
  if (!find(`[data-picture="${item.id}"]`, dialog)) return; // requests.js says why
  history[opened === null ? "pushState" : "replaceState"]({ picture: item.id }, "", address);
  opened = item.id;
  if (place > grid.length - NEAR_THE_END) more();
}

dialog.addEventListener("close", () => {
  if (opened === null) return;
  const place = grid.indexOf(wanted);
  opened = wanted = null;
  if (history.state?.picture) history.back();
  if (place >= 0) grid.focus(place);
});
on("popstate", () => { if (opened !== null && !history.state?.picture) dialog.close(); });

/** Before htmx takes it up. */
function instead(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

on("click", (event) => {
  const link = event.target.closest?.("#lightbox a[rel=prev], #lightbox a[rel=next]");
  if (!link || opened === null || isCommand(event)) return;
  instead(event);
  open(grid.indexOf(wanted) + (link.rel === "prev" ? -1 : 1));
}, { capture: true });
on("submit", (event) => {
  if (!event.target.matches("#lightbox form[data-delete]") || opened === null) return;
  instead(event);
  const place = grid.indexOf(opened);
  remove([opened]);
  if (!grid.length) return dialog.close();
  opened = grid.items[Math.min(place, grid.length - 1)].id;
  open(grid.indexOf(opened));
}, { capture: true });
on("darkroom:changed", (event) => update(event.detail));
