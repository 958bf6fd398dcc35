// What every page of the studio has.
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

/** A picture that was deleted, not from the gallery (gallery.js): on its own page, or in another page's lightbox. */
document.addEventListener("darkroom:deleted", (event) => {
  const dialog = document.getElementById("lightbox");
  if (!dialog) return location.assign(document.querySelector("[data-delete]").dataset.delete);
  dialog.close();
  document.querySelector(`.tile[href*="${event.detail.id}"]`)?.remove();
});
