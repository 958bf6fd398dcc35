// The page that compares two pictures, by keys: 1 and 2 choose, 0 is neither, Backspace goes back. Without this, buttons do it.
"use strict";
(() => {
  const busy = () => document.activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || busy()) return;
    if (document.querySelector("dialog[open]")) return;
    const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!target) return;
    event.preventDefault();
    window.htmx?.process(target.form ?? target); // htmx takes up what it has just put in 20 ms later: until then a click would leave the page
    target.click();
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id === "compare") event.submitter?.classList.add("chosen");
  });
})();
