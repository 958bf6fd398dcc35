// What was found in a picture, drawn over it: the shapes come with the rows beside it, in templates. Layers are look.css's.
import { all, byId, find, on, onClick } from "./dom.js";

const LABEL = 13;
const rowOf = ({ target }) => target.closest?.(".found-rows > li") ?? byId(target.closest?.(".look-picture g")?.dataset.row);
const shapeOf = (row) => find(`.look-picture [data-row="${row.id}"]`);

function draw() {
  const svg = find(".look-picture svg"), size = LABEL * (svg?.viewBox.baseVal.width / svg?.clientWidth || 1);
  if (!svg) return;
  const shapes = all("template.found-shapes").flatMap(({ content }) => all("svg > [data-depth]", content.cloneNode(true)));
  svg.replaceChildren(...shapes.sort((one, other) => one.dataset.depth - other.dataset.depth));
  svg.style.fontSize = `${size}px`; // the same on the screen, however large the picture is
  for (const label of all(".label", svg)) label.setAttribute("y", Math.max(label.getAttribute("y") - size / 3, size));
  for (const one of all("[data-hue]")) one.style.setProperty("--hue", one.dataset.hue);
  filter();
}

function filter() {
  const slider = byId("look-least"), least = Number(slider?.value ?? 0);
  if (slider) slider.nextElementSibling.value = `${least} %`;
  for (const row of all(".found-rows > li")) {
    row.hidden = Number(row.dataset.score) < least;
    shapeOf(row)?.classList.toggle("below", row.hidden);
  }
  for (const count of all("[data-count]")) {
    const kinds = all(".found-rows > li:not([hidden])", count.parentElement.parentElement).map((row) => row.dataset.kind);
    const many = kinds.filter((kind) => kind === count.dataset.count).length;
    find("b", count).textContent = many;
    count.hidden = !many;
  }
}

// A row and its shape, marked together
on("pointerover focusin", (event) => {
  const row = rowOf(event) ?? document.activeElement.closest(".found-rows > li");
  for (const one of all(".marked")) one.classList.remove("marked");
  for (const one of row ? [row, shapeOf(row)] : []) one?.classList.add("marked");
});
onClick(".look-picture g", (shape) => { if (!String(getSelection())) byId(shape.dataset.row).focus(); });
on("input", ({ target }) => { if (target.id === "look-least") filter(); });
on("htmx:load", draw);
on("resize", draw);
draw();
