// What every page of the studio has.
import { watchComparisons } from "./before_after.js";
import { watchCopyButtons } from "./copying.js";
import { watchDrops } from "./dropping.js";
import { watchFailures } from "./failures.js";
import { watchKeys } from "./keys.js";
import { watchLanguages } from "./languages.js";
import { watchTheme } from "./theme.js";
import { watchViewers } from "./viewer.js";

document.documentElement.classList.add("scripted");
watchTheme();
watchLanguages();
watchKeys();
watchCopyButtons();
watchDrops();
watchFailures();
watchViewers();
watchComparisons();

// A narrow screen's row of pages begins elsewhere; the account's menu closes where one clicks beside it.
document.querySelector(".pages [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
document.addEventListener("click", (event) => {
  const menu = document.querySelector(".account[open]");
  if (menu && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector(".account[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});

/** A picture that was deleted, not from the gallery (gallery.js): on its own page, or in another page's lightbox. */
document.addEventListener("darkroom:deleted", (event) => {
  const dialog = document.getElementById("lightbox");
  if (!dialog) return location.assign(document.querySelector("[data-delete]").dataset.delete);
  dialog.close();
  document.querySelector(`.tile[href*="${event.detail.id}"]`)?.remove();
});
