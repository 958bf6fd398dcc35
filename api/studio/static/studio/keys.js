// Keys that every page has: ? for the list of all keys, / for the search, a letter for each page (api/studio/pages.py), and those of buttons.
import { all, byId, find, isCommand, isTyping, on } from "./dom.js";

const BUTTONS = "[data-key], [rel=prev], [rel=next]", TURNS = { prev: "ArrowLeft", next: "ArrowRight" };
const help = byId("help");

/** htmx takes up what it has just put in 20 ms later: until then a click would leave the page. */
function press(button) {
  window.htmx?.process(button.form ?? button);
  button.click();
}

on("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || isTyping(event)) return;
  const key = isCommand(event) ? `Ctrl+${event.shiftKey ? "Shift+" : ""}${event.key.toLowerCase()}` : event.key, dialog = find("dialog[open]");
  const button = all(BUTTONS, dialog ?? byId("main")).find(({ dataset, rel }) => (dataset.key ? dataset.key.split(" ").includes(key) : dialog && TURNS[rel] === key));
  const page = find(`[data-page-key="${CSS.escape(key)}"]:not([aria-current])`);
  if (event.repeat && button?.type !== "button" && !button?.rel) return; // what is sent is sent once
  if (key === "?" && help) help.open ? help.close() : help.showModal();
  else if (button) press(button);
  else if (dialog) return;
  else if (key === "/") find("#search, #prompt")?.focus();
  else if (page) page.click();
  else return;
  event.preventDefault();
});

on("keydown", (event) => {
  const form = event.key === "Enter" && isCommand(event) && event.target.closest(".prompt-form");
  if (!form) return;
  event.preventDefault();
  form.requestSubmit();
});

on("submit", ({ target, submitter }) => { if (target.id === "compare") submitter?.classList.add("chosen"); });
