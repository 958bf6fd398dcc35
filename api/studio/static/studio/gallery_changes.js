// What is changed of the pictures that are chosen: stars, favourites, tags; deleted, with undo; compared.
import { deleteLater } from "./deletions.js";
import { byId, on } from "./dom.js";
import { grid, listNumber, search, selection, tell, update } from "./gallery_list.js";
import { complain, notify } from "./notices.js";
import { post } from "./requests.js";
import { text } from "./texts.js";

const MOST_AT_ONCE = 200;
const form = byId("gallery"), ADDRESS = form.getAttribute("action"), tag = byId("selection-tag"); // its buttons are named "action", too
export const mayChange = Boolean(tag);

export async function change(action, value, chosen) {
  let done = 0, said = {};
  if (!chosen.length) return;
  try {
    for (let start = 0; start < chosen.length; start += MOST_AT_ONCE) {
      const answer = await post(ADDRESS, { action, value, ids: chosen.slice(start, start + MOST_AT_ONCE).join(",") });
      said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw said.detail ?? text(answer.status === 403 ? "refused" : "failed");
      said.images.forEach(update);
      if (said.gone.length) grid.remove((item) => said.gone.includes(item.id));
      done += said.images.length;
    }
  } catch (words) {
    return complain(done ? text("lostPartly", { count: done }) : words instanceof Error ? text("lost") : words);
  }
  notify(chosen.length > MOST_AT_ONCE ? text("changed", { count: done }) : said.detail, { seconds: 3 });
}

/** The pictures go from the page at once, and from the server when nobody took it back. */
export function remove(chosen) {
  const leaving = new Set(chosen), taken = grid.remove((item) => leaving.has(item.id)), mine = listNumber;
  if (!taken.length) return;
  selection.set(chosen, false);
  tell();
  deleteLater(ADDRESS, taken.map((item) => item.id), (kept, isWanted) => {
    if (mine !== listNumber) return search(); // another list is shown: it says whether they belong to it
    grid.putBack(taken.filter((item) => kept.has(item.id)));
    tell();
    if (isWanted) grid.focus(grid.indexOf(taken[0].id));
  });
}

function act(action, value = tag.value) {
  const chosen = [...selection.ids];
  if (!chosen.length) return;
  if (action === "compare") location.assign(`${byId("compare-chosen").dataset.address}?${chosen.map((id) => `image=${id}`).join("&")}`);
  else if (action === "delete") remove(chosen);
  else change(action, value, chosen);
}

on("submit", (event) => { event.preventDefault(); act(...event.submitter.value.split(":")); }, { target: form });
on("reset", (event) => { event.preventDefault(); selection.clear(); }, { target: form });
tag?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // else the first button of the form would be pressed
  if (tag.value.trim()) act("tag");
});
