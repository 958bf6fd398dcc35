// Two to four pictures that are enlarged and moved together, side by side or in one place.
import { text } from "./texts.js";
import { KEYS, Viewer } from "./viewer.js";

const STEP = 60, PANS = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
const box = document.getElementById("side-by-side"), panes = [...box.querySelectorAll("[data-pane]")];
const oneButton = document.getElementById("one-place"), swapButton = document.getElementById("swap");
const viewers = [];
let front = 0;
panes.forEach((pane) => viewers.push(new Viewer(pane, (mover) => {
  for (const other of viewers) if (other !== mover) other.follow(mover);
})));

/** The one with the most pixels: where it is at its actual size, no pixel of any is lost. */
const largest = () => viewers.reduce((one, other) => (other.actual < one.actual ? other : one));

function show(place) {
  front = (place + panes.length) % panes.length;
  panes.forEach((pane, number) => pane.classList.toggle("front", number === front));
  if (box.classList.contains("in-one-place")) document.getElementById("compare-state").textContent = text("front", { number: front + 1 });
}

function toggle() {
  const isOne = box.classList.toggle("in-one-place");
  oneButton.setAttribute("aria-pressed", isOne);
  swapButton.hidden = !isOne;
  document.getElementById("compare-state").textContent = "";
  if (isOne) show(front);
}

const swap = () => { if (!box.classList.contains("in-one-place")) toggle(); else show(front + 1); };

box.addEventListener("click", (event) => {
  const zoom = event.target.closest(".compare-tools [data-zoom]")?.dataset.zoom, pane = event.target.closest("[data-pane]");
  if (zoom) largest().to(zoom);
  if (pane) show(panes.indexOf(pane));
});
oneButton.addEventListener("click", toggle);
swapButton.addEventListener("click", swap);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select") || document.querySelector("dialog[open]")) return;
  const isControl = event.target.closest("a, button, [tabindex]"), key = event.key;
  if (KEYS[key]) largest().to(KEYS[key]);
  else if (PANS[key] && viewers[front].scale > 1) viewers[front].pan(...PANS[key]);
  else if (key === "s" || (key === " " && !isControl)) swap();
  else if (key === "o") toggle();
  else if (key === "f") panes[front].querySelector("[data-key=f]")?.click();
  else if (Number(key) >= 1 && Number(key) <= panes.length) show(Number(key) - 1);
  else return;
  event.preventDefault();
});
