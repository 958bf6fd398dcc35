/* The little that neither HTML nor htmx does: the lightbox, and a key to submit. */
(() => {
  "use strict";

  document.addEventListener("keydown", (event) => {
    const form = document.getElementById("prompt-form");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form && form.contains(event.target)) {
      event.preventDefault();
      form.requestSubmit();
    }
    const dialog = document.getElementById("lightbox");
    const isTyping = event.target.closest("input, textarea, select");
    if (dialog && dialog.open && !isTyping && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const link = dialog.querySelector(event.key === "ArrowLeft" ? "a[rel=prev]" : "a[rel=next]");
      if (link) {
        htmx.process(link); // htmx takes up what it has just put in 20 ms later: until then a click would leave the page
        link.click();
      }
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.id === "lightbox") event.target.close(); // outside the picture
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const dialog = document.getElementById("lightbox");
    if (event.target.id === "lightbox-content" && dialog && !dialog.open) dialog.showModal();
  });

  // What the browser itself finds wrong must be seen to be told.
  document.addEventListener("invalid", (event) => event.target.closest("details")?.setAttribute("open", ""), { capture: true });

  document.addEventListener("htmx:oobAfterSwap", (event) => {
    for (const more of document.querySelectorAll("details:has(.error:not(:empty))")) more.open = true;
  });
})();
