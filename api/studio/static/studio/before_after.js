// Two pictures in one place: a slider shows more of the one or of the other.
function place(part) {
  for (const box of part.querySelectorAll("[data-before-after][data-place]")) {
    const values = box.dataset.place.split(" "), style = box.querySelector(".before img").style;
    ["left", "top", "width", "height"].forEach((name, number) => { style[name] = `${values[number]}%`; });
  }
}

export function watchComparisons() {
  place(document);
  document.addEventListener("htmx:load", (event) => place(event.detail.elt.parentElement ?? document));
  document.addEventListener("input", (event) => {
    event.target.closest("[data-before-after]")?.style.setProperty("--at", `${event.target.value}%`);
  });
}
