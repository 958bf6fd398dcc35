// The gallery: endless, with many pictures chosen and changed at once. Without this, pages and forms do it.
import { deleteLater, isLeaving, undoLast } from "./deletions.js";
import { getPart, post } from "./requests.js";
import { notify } from "./notices.js";
import { Selection } from "./selection.js";
import { draw } from "./thumbnails.js";
import { text } from "./texts.js";
import { VirtualGrid } from "./virtual_grid.js";

const CHANGE = document.getElementById("gallery").getAttribute("action"); // its buttons are named "action", too
const MOST_AT_ONCE = 200, PAGES_WITHOUT_A_FIND = 25;
const form = document.getElementById("gallery"), list = document.getElementById("grid");
const filters = document.getElementById("filters"), state = document.getElementById("gallery-state");
const details = filters.querySelector("details");
const bar = document.getElementById("selection"), dialog = document.getElementById("lightbox");
const comparing = document.getElementById("compare-chosen"), MOST_COMPARED = 4;
const pattern = document.createElement("template");
let next = "", loading = false, failed = false, empty = 0, generation = 0;

// ---------------------------------------------------------------- items and their tiles

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

function show(cell, item) {
  cell.querySelector(".tile-favourite").hidden = !item.favourite;
  cell.querySelector(".tile-stars").hidden = !item.rating;
  cell.querySelector(".tile-rating").textContent = item.rating || "";
  const box = cell.querySelector("[name=ids]");
  if (box) box.checked = selection.has(item.id);
  cell.classList.toggle("chosen", selection.has(item.id));
}

const selection = new Selection(() => {
  for (const element of grid.elements.values()) show(element, grid.items[grid.indexOf(element.dataset.id)]);
  if (!bar) return;
  bar.classList.toggle("open", selection.size > 0);
  comparing.disabled = selection.size < 2 || selection.size > MOST_COMPARED;
  document.getElementById("selection-count").textContent = selection.size ? text("chosen", { count: selection.size }) : "";
});
const grid = new VirtualGrid(list, makeTile, { more: () => load() });
const ids = () => grid.items.map((item) => item.id);

function read(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  next = holder.content.querySelector(".tile-more a")?.getAttribute("href") ?? "";
  return [...holder.content.querySelectorAll(".tile-cell")].map(readItem).filter((item) => !isLeaving(item.id));
}

// ---------------------------------------------------------------- pages

async function load() {
  if (loading || failed || !next || empty >= PAGES_WITHOUT_A_FIND) return;
  loading = true;
  const mine = generation;
  tell();
  try {
    const html = await getPart(next);
    if (mine !== generation) return;
    const items = read(html);
    empty = items.length ? 0 : empty + 1;
    loading = false;
    grid.append(items);
  } catch {
    if (mine !== generation) return;
    loading = false;
    failed = true;
    offer(text("lostList"), text("again"), () => { failed = false; load(); });
    return;
  }
  tell();
  if (!grid.length) load();
}

function tell() {
  state.replaceChildren();
  if (failed) return;
  if (empty >= PAGES_WITHOUT_A_FIND && next) {
    offer(text("shown", { count: grid.length }), text("more"), () => { empty = 0; load(); });
  } else if (next) {
    state.textContent = grid.length ? text("shown", { count: grid.length.toLocaleString(document.documentElement.lang) }) : text("searching");
  } else {
    const none = document.getElementById("nothing") ? "" : text("none"); // the page says so itself
    state.textContent = grid.length ? text("all", { count: grid.length.toLocaleString(document.documentElement.lang) }) : none;
  }
  document.getElementById("nothing")?.toggleAttribute("hidden", grid.length > 0);
}

function offer(words, label, click) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: label });
  button.addEventListener("click", () => { state.replaceChildren(); click(); });
  state.replaceChildren(words, " ", button);
}

// ---------------------------------------------------------------- filters act as they are set

async function search() {
  if (!filters.checkValidity()) {
    details.open = true;
    return filters.reportValidity();
  }
  const query = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value !== ""));
  const address = `${filters.getAttribute("action")}${query.size ? `?${query}` : ""}`;
  generation += 1;
  const mine = generation;
  loading = true;
  state.textContent = text("searching");
  try {
    const html = await getPart(address);
    if (mine !== generation) return;
    history.replaceState(null, "", address);
    showFilters(query);
    selection.clear();
    grid.remove(() => true);
    [loading, failed, empty] = [false, false, 0];
    scrollTo(0, 0);
    grid.append(read(html));
  } catch {
    if (mine !== generation) return;
    loading = false;
    offer(text("lostList"), text("again"), search);
    return;
  }
  tell();
  if (!grid.length) load();
}

/** How many filters are set of those that are folded away, and whether there is anything to clear. */
function showFilters(query) {
  const count = [...details.querySelectorAll("[name]")].filter((field) => field.value).length;
  document.getElementById("filter-count").hidden = !count;
  document.getElementById("filter-count").textContent = count;
  document.getElementById("clear-filters").hidden = [...query.keys()].every((name) => name === "order");
}

let typing = 0;
filters.addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(search, event.target.matches("[type=search], [type=number]") ? 350 : 0);
});
filters.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); search(); });

// ---------------------------------------------------------------- changes

async function change(action, value, chosen) {
  let done = 0, said = {};
  const fail = (words) => notify(done ? text("lostPartly", { count: done }) : words, { isError: true, seconds: 10 });
  try {
    for (let start = 0; start < chosen.length; start += MOST_AT_ONCE) {
      const answer = await post(CHANGE, { action, value, ids: chosen.slice(start, start + MOST_AT_ONCE).join(",") });
      said = (answer.headers.get("Content-Type") ?? "").includes("json") ? await answer.json() : {};
      if (!answer.ok) return fail(said.detail ?? text(answer.status === 403 ? "refused" : "failed"));
      said.images.forEach(update);
      if (said.gone.length) grid.remove((item) => said.gone.includes(item.id));
      done += said.images.length;
    }
  } catch {
    return fail(text("lost"));
  }
  notify(chosen.length > MOST_AT_ONCE ? text("changed", { count: done.toLocaleString(document.documentElement.lang) }) : said.detail, { seconds: 3 });
}

function update({ id, rating, favourite }) {
  const item = grid.items[grid.indexOf(id)];
  if (!item) return;
  Object.assign(item, { rating: rating ?? 0, favourite });
  grid.refresh(id, (cell) => show(cell, item));
}

/** The pictures go from the page at once, and from the server when nobody took it back. */
function remove(chosen) {
  const gone = new Set(chosen), taken = grid.remove((item) => gone.has(item.id)), mine = generation;
  if (!taken.length) return;
  selection.set(chosen, false);
  tell();
  deleteLater(CHANGE, taken.map((item) => item.id), (kept, isWanted) => {
    if (mine !== generation) return search(); // another list is shown: it says whether they belong to it
    grid.putBack(taken.filter((item) => kept.has(item.id)));
    tell();
    if (isWanted) grid.focus(grid.indexOf(taken[0].id));
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [action, value = ""] = (event.submitter?.value ?? "").split(":");
  act(action, value || document.getElementById("selection-tag").value, [...selection.ids]);
});
form.addEventListener("reset", (event) => { event.preventDefault(); selection.clear(); });
document.getElementById("selection-tag")?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // else the first button of the form would be pressed
  if (event.target.value.trim()) act("tag", event.target.value, [...selection.ids]);
});

function act(action, value, chosen) {
  if (!bar || !chosen.length) return;
  if (action === "compare") location.assign(`${comparing.dataset.address}?${chosen.map((id) => `image=${id}`).join("&")}`);
  else if (action === "delete") remove(chosen);
  else change(action, value, chosen);
}

// ---------------------------------------------------------------- mouse and keys in the grid

list.addEventListener("click", (event) => {
  const cell = event.target.closest(".tile-cell");
  if (!cell) return;
  const id = cell.dataset.id, place = grid.indexOf(id);
  if (event.target.closest(".tile-check")) {
    if (!event.target.matches("input")) return; // the label's own click comes as the box's
    event.shiftKey ? selection.extend(id, ids()) : selection.toggle(id);
    grid.focused = place;
    return grid.markFocusable();
  }
  if (!event.target.closest("a") || event.button) return;
  if (event.shiftKey || ((event.ctrlKey || event.metaKey) && bar)) {
    event.preventDefault();
    return event.shiftKey ? selection.extend(id, ids()) : selection.toggle(id);
  }
  event.preventDefault();
  open(place);
});

const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -grid.columns, ArrowDown: () => grid.columns };

list.addEventListener("keydown", (event) => {
  const cell = event.target.closest(".tile-cell"), id = cell?.dataset.id;
  const place = id ? grid.indexOf(id) : grid.focused;
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (isPlain && STEPS[event.key]) {
    event.preventDefault();
    if (event.shiftKey && !selection.has(id)) selection.toggle(id);
    grid.focus(place + STEPS[event.key]());
    if (event.shiftKey) selection.extend(grid.items[grid.focused].id, ids());
  } else if (isPlain && (event.key === "Home" || event.key === "End")) {
    event.preventDefault();
    grid.focus(event.key === "Home" ? 0 : grid.length - 1);
  } else if ((event.ctrlKey || event.metaKey) && event.key === "a") {
    event.preventDefault();
    selection.set(ids(), true);
  } else if (event.key === "Escape") {
    selection.clear();
  } else if (isPlain && bar) {
    pressed(event, id);
  }
});

document.addEventListener("keydown", (event) => {
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key === "z";
  if (isUndo && !event.target.closest("input:not([type=checkbox]), textarea") && undoLast()) event.preventDefault();
});

/** Keys act on the chosen pictures, or else on the one that has the focus. */
function pressed(event, id) {
  const chosen = selection.size ? [...selection.ids] : id ? [id] : [];
  const item = grid.items[grid.indexOf(id)];
  if (event.key === "x" || (event.key === " " && !event.target.matches("input"))) selection.toggle(id);
  else if (/^[0-5]$/.test(event.key)) change("rate", event.key, chosen);
  else if (event.key === "f") change("favourite", item?.favourite ? "no" : "yes", chosen);
  else if (event.key === "t" && chosen.length) { selection.set(chosen, true); document.getElementById("selection-tag").focus(); }
  else if (event.key === "Delete" || event.key === "Backspace") { remove(chosen); grid.focus(grid.focused); }
  else return;
  event.preventDefault();
}

// ---------------------------------------------------------------- one picture, over the gallery

let opened = null, wanted = null; // keys may be faster than the server

async function open(place, { push = true } = {}) {
  const item = grid.items[place];
  if (!item) return;
  grid.focused = place;
  wanted = item.id;
  const address = grid.elements.get(place)?.querySelector("a").href ?? `/studio/images/${item.id}/`;
  await htmx.ajax("GET", address, { target: "#lightbox-content", swap: "innerHTML" });
  if (wanted !== item.id) return; // meanwhile it was closed, or the next one asked for
  if (!document.querySelector(`#lightbox [data-picture="${item.id}"]`)) return; // failures.js says why
  if (push && opened === null) history.pushState({ picture: item.id }, "", address);
  else history.replaceState({ picture: item.id }, "", address);
  opened = item.id;
  if (place > grid.length - 10) load();
}

dialog.addEventListener("close", () => {
  if (opened === null) return;
  const place = grid.indexOf(wanted);
  opened = wanted = null;
  if (history.state?.picture) history.back();
  if (place >= 0) grid.focus(place);
});
addEventListener("popstate", () => {
  if (opened !== null && !history.state?.picture) dialog.close();
});

/** Before studio.js and htmx: the neighbours here are those of this list, with its filters and its order. */
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("#lightbox a[rel=prev], #lightbox a[rel=next]");
  if (!link || opened === null || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  step(link.rel === "prev" ? -1 : 1);
}, true);

function step(by) {
  const place = grid.indexOf(wanted) + by;
  if (place >= 0 && place < grid.length) open(place);
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("#lightbox form[data-delete]") || opened === null) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const place = grid.indexOf(opened), id = opened;
  remove([id]);
  if (grid.length) { opened = grid.items[Math.min(place, grid.length - 1)].id; open(Math.min(place, grid.length - 1)); } else dialog.close();
}, true);
document.addEventListener("darkroom:changed", (event) => update(event.detail));

// ---------------------------------------------------------------- begin

history.scrollRestoration = "manual"; // the page is as long as what has been loaded of it
const first = read(list.innerHTML);
list.replaceChildren();
list.tabIndex = -1;
grid.append(first);
tell();
if (!first.length) load();
