// Keys that every page has: ? for the list of all keys, / for the search, and a letter for each page (api/studio/pages.py).
const isTyping = (event) => event.target.closest("input, textarea, select, [contenteditable]");

export function watchKeys() {
  const help = document.getElementById("help");
  document.getElementById("help-button")?.addEventListener("click", () => help.showModal());
  help.addEventListener("click", (event) => { if (event.target === help) help.close(); });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
    if (event.key === "?") { help.open ? help.close() : help.showModal(); event.preventDefault(); }
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      document.querySelector("#search, #prompt")?.focus();
      event.preventDefault();
    }
    document.querySelector(`[data-page-key="${CSS.escape(event.key)}"]:not([aria-current])`)?.click();
  });
}
