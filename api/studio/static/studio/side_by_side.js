// Two to four pictures that are enlarged and moved together, side by side or in one place.
import { byId, find, keyOf, on, onClick } from "./dom.js";
import { text } from "./texts.js";
import { Viewer } from "./viewer.js";

const STEP = 60, PANS = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
const box = byId("side-by-side"), panes = [...box.querySelectorAll("[data-pane]")];
const viewers = [], isOne = () => box.classList.contains("in-one-place");
let front = 0;
panes.forEach((pane) => viewers.push(new Viewer(pane, (mover) => {
  for (const other of viewers) if (other !== mover) other.follow(mover);
})));

/** The one with the most pixels: where it is at its actual size, no pixel of any is lost. */
const largest = () => viewers.reduce((one, other) => (other.actual < one.actual ? other : one));

function show(place) {
  front = place % panes.length;
  panes.forEach((pane, number) => pane.classList.toggle("front", number === front));
  byId("compare-state").textContent = isOne() ? text("front", { number: front + 1 }) : "";
}

function toggle() {
  box.classList.toggle("in-one-place");
  byId("one-place").ariaPressed = isOne();
  byId("swap").hidden = !isOne();
  show(front);
}

const swap = () => (isOne() ? show(front + 1) : toggle());

onClick(".compare-tools [data-zoom]", (button) => largest().to(button.dataset.zoom));
onClick("[data-pane]", (pane) => show(panes.indexOf(pane)));
onClick("#one-place", toggle);
onClick("#swap", swap);

on("keydown", (event) => {
  const key = keyOf(event);
  if (!key || find("dialog[open]")) return;
  if (PANS[key] && viewers[front].scale > 1) viewers[front].shift(...PANS[key]);
  else if (key === " " && !event.target.closest("a, button, input, [tabindex]")) swap();
  else if (key === "f") panes[front].querySelector("[data-key=f]")?.click();
  else if (panes[Number(key) - 1]) show(Number(key) - 1);
  else return;
  event.preventDefault();
}, { capture: true }); // before the keys of buttons: a number is a picture here, no stars
