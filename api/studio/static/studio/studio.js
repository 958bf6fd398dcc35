/* The little that neither HTML nor htmx does: the lightbox, a key to submit, and a bound on open streams. */
(() => {
  "use strict";
  const MOST_JOBS = 3; // a browser opens six connections to a server; each running job here holds one

  document.addEventListener("keydown", (event) => {
    const form = document.getElementById("prompt-form");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form && form.contains(event.target)) {
      event.preventDefault();
      form.requestSubmit();
    }
    const dialog = document.getElementById("lightbox");
    if (dialog && dialog.open && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
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
    if (event.target.id === "stage") {
      event.target.firstElementChild?.scrollIntoView({ block: "nearest" });
      for (const job of [...event.target.querySelectorAll(".job")].slice(MOST_JOBS)) {
        htmx.swap(job, "", { swapStyle: "delete" });
      }
    }
  });

  document.addEventListener("htmx:oobAfterSwap", (event) => {
    const more = document.getElementById("more");
    if (more && more.querySelector(".error:not(:empty)")) more.open = true;
  });
})();
