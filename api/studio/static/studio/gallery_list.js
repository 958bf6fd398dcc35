// The gallery's list: its tiles, which of them are chosen, its pages as they are needed, and its filters, which act as they are set.
import { isLeaving } from "./deletions.js";
import { all, byId, find, makeButton, on, queryOf } from "./dom.js";
import { getPart } from "./requests.js";
import { Selection } from "./selection.js";
import { text } from "./texts.js";
import { draw } from "./thumbnails.js";
import { VirtualGrid } from "./virtual_grid.js";

const PAGES_WITHOUT_A_FIND = 25, MOST_COMPARED = 4, TYPING = 350;
const filters = byId("filters"), details = find("details", filters), state = byId("gallery-state");
const pattern = document.createElement("template");
let next = "", loading = false, failed = false, empty = 0;

export let listNumber = 0; // another one for other filters

// Items and their tiles

const readItem = (cell) => ({
  id: cell.dataset.id, rating: Number(cell.dataset.rating) || 0, favourite: cell.dataset.favourite === "yes", html: cell.outerHTML,
});

function makeTile(item) {
  pattern.innerHTML = item.html;
  const cell = pattern.content.firstElementChild;
  show(cell, item);
  draw(cell, grid.rowHeight);
  return cell;
}

function show(cell, { id, rating, favourite }) {
  find(".tile-favourite", cell).hidden = !favourite;
  find(".tile-stars", cell).hidden = !rating;
  find(".tile-rating", cell).textContent = rating || "";
  for (const box of all("[name=ids]", cell)) box.checked = selection.has(id);
}

export const selection = new Selection(() => {
  const { size } = selection;
  for (const [place, cell] of grid.elements) show(cell, grid.items[place]);
  if (!byId("selection")) return; // a key that may only look
  byId("selection").classList.toggle("open", size > 0);
  byId("compare-chosen").disabled = size < 2 || size > MOST_COMPARED;
  byId("selection-count").textContent = size ? text("chosen", { count: size }) : "";
});
export const grid = new VirtualGrid(byId("grid"), makeTile, () => { if (!failed) more(); });

export function update({ id, rating, favourite }) {
  const item = grid.items[grid.indexOf(id)];
  if (!item) return;
  Object.assign(item, { rating: rating ?? 0, favourite });
  if (grid.elementOf(id)) show(grid.elementOf(id), item);
}

// Pages

export function append(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  next = find(".tile-more a", holder.content)?.getAttribute("href") ?? "";
  const items = all(".tile-cell", holder.content).map(readItem).filter((item) => !isLeaving(item.id));
  empty = items.length ? 0 : empty + 1;
  grid.append(items);
  tell();
}

export function more() {
  if (!loading && next && empty < PAGES_WITHOUT_A_FIND) load(next);
}

/** The next page, or the first one of another list. */
async function load(address, begin = () => {}) {
  const mine = listNumber;
  loading = true;
  tell();
  const html = await getPart(address).catch(() => null);
  if (mine !== listNumber) return;
  failed = html === null;
  if (!failed) begin();
  loading = false;
  failed ? offer(text("lostList"), text("again"), () => load(address, begin)) : append(html);
}

/** What there is of it, and a button where it does not go on by itself. */
export function tell() {
  const count = grid.length, nothing = byId("nothing"); // the page's own words for an empty list
  nothing?.toggleAttribute("hidden", count > 0);
  if (next && empty >= PAGES_WITHOUT_A_FIND) return offer(text("shown", { count }), text("more"), () => { empty = 0; more(); });
  const words = count ? text(next ? "shown" : "all", { count }) : next || loading ? text("searching") : nothing ? "" : text("none");
  state.replaceChildren(words);
}

function offer(words, label, click) {
  state.replaceChildren(words, " ", makeButton(label, click));
}

// Filters

export function search() {
  clearTimeout(typing);
  if (!filters.reportValidity()) return;
  const query = queryOf(filters), address = `${filters.getAttribute("action")}${query.size ? `?${query}` : ""}`;
  listNumber += 1;
  load(address, () => {
    history.replaceState(null, "", address);
    showFilters(query);
    selection.clear();
    grid.remove(() => true);
    empty = 0;
    scrollTo(0, 0);
  });
  state.textContent = text("searching");
}

/** How many filters are set of those that are folded away, and whether there is anything to clear. */
function showFilters(query) {
  const count = all("[name]", details).filter((field) => field.value).length;
  byId("filter-count").hidden = !count;
  byId("filter-count").textContent = count;
  byId("clear-filters").hidden = [...query.keys()].every((name) => name === "order");
}

let typing = 0;
on("input", ({ target }) => {
  clearTimeout(typing);
  typing = setTimeout(search, target.matches("[type=search], [type=number]") ? TYPING : 0);
}, { target: filters });
on("submit", (event) => { event.preventDefault(); search(); }, { target: filters });
