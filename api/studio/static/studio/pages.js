// What every page of the studio has.
import "./copying.js";
import { all, byId, find, on, onClick } from "./dom.js";
import "./drafts.js";
import "./dropping.js";
import "./keys.js";
import "./viewer.js";

document.documentElement.classList.add("scripted");

// A narrow screen's row of pages begins elsewhere.
find(".pages [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// Light, dark, or as the system has it. A cookie, so that the server's page comes in its colours at once.
const NEXT = { "": "dark", dark: "light", light: "" }, YEAR = 31_536_000;
onClick("#theme", () => {
  const root = document.documentElement, theme = NEXT[root.dataset.theme ?? ""];
  theme ? root.dataset.theme = theme : delete root.dataset.theme;
  document.cookie = `theme=${theme}; path=/; max-age=${theme ? YEAR : 0}; samesite=lax`;
});

// A result over its source: a slider shows more of the one or of the other.
on("input", ({ target }) => target.closest("[data-before-after]")?.style.setProperty("--at", `${target.value}%`));

// Dialogs: a button opens one, a click beside it closes it; what was asked for by a tile opens the lightbox.
on("click", ({ target }) => { if (target.matches("dialog")) target.close(); });
onClick("[data-opens]", ({ dataset }) => byId(dataset.opens).showModal());
on("htmx:afterSwap", ({ target }) => { if (target.id === "lightbox-content" && !byId("lightbox").open) byId("lightbox").showModal(); });

onClick("svg a[hx-get]", (link, event) => event.preventDefault()); // htmx stops the links of HTML alone

/** A picture that was deleted, not from the gallery (gallery.js): on its own page, or in another page's lightbox. */
on("darkroom:deleted", (event) => {
  const dialog = byId("lightbox");
  if (!dialog) return location.assign(find("[data-delete]").dataset.delete);
  dialog.close();
  find(`.tile[href*="${event.detail.id}"]`)?.remove();
});

// What the browser, or the server, finds wrong must be seen to be told.
on("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), { capture: true });
on("htmx:oobAfterSwap", () => all("details:has(.error:not(:empty))").forEach((one) => { one.open = true; }));
