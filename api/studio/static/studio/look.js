// What was found in a picture, drawn over it from the rows beside it. A picture that is dropped or pasted goes into the page's own form.
const SVG = "http://www.w3.org/2000/svg", LABEL = 13, ORDER = ["hazards", "things", "text"];
const rows = () => document.querySelectorAll(".found-rows > [data-points]");
const shapes = new Map(), owners = new Map(); // from a row to what is drawn for it, and back

function make(name, values, parent, words = "") {
  const element = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
  element.textContent = words;
  return element;
}

/** The same for the same word. */
const hue = (word) => [...word].reduce((sum, letter) => (sum * 33 + letter.codePointAt(0)) % 360, 11);

function draw() {
  const svg = document.querySelector(".look-picture svg");
  if (!svg) return;
  svg.replaceChildren();
  shapes.clear();
  owners.clear();
  const { width } = svg.viewBox.baseVal, size = (LABEL * width) / (svg.clientWidth || width);
  const overlay = document.querySelector(".found-overlay");
  if (overlay) {
    const [wide, high] = overlay.dataset.size.split(" "), box = { class: "layout", viewBox: overlay.dataset.view, preserveAspectRatio: "none" };
    make("image", { href: overlay.href, width: wide, height: high }, make("svg", box, svg));
  }
  for (const { row, layer, points } of inOrder()) {
    const group = make("g", { class: layer }, svg);
    for (const one of [row, group]) one.style.setProperty("--hue", hue(row.dataset.kind));
    make("polygon", { points: row.dataset.points }, group);
    if (layer === "text") lay(row.textContent, points, group);
    else {
      const [x, y] = [Math.min(...points.map(([left]) => left)), Math.min(...points.map(([, top]) => top))];
      const words = `${row.querySelector(".found-name").textContent} ${row.dataset.score} %`;
      make("text", { x: x + size / 4, y: Math.max(y - size / 3, size), "font-size": size }, group, words);
    }
    shapes.set(row, group);
    owners.set(group, row);
  }
  filter();
  switchLayers(svg);
}

/** What is small is drawn over what is large, and text over all. */
function inOrder() {
  const area = (points) => Math.abs((points[2][0] - points[0][0]) * (points[2][1] - points[0][1]));
  const read = (row) => ({ row, layer: row.parentElement.dataset.layer, points: row.dataset.points.split(" ").map((pair) => pair.split(",").map(Number)) });
  return [...rows()].map(read).sort((one, other) => ORDER.indexOf(one.layer) - ORDER.indexOf(other.layer) || area(other.points) - area(one.points));
}

/** The words of a line over the line itself, unseen, so that they can be marked there. */
function lay(words, [start, end, , below], group) {
  const [across, down] = [[end, start], [below, start]].map(([one, other]) => Math.hypot(one[0] - other[0], one[1] - other[1]));
  const turn = (Math.atan2(end[1] - start[1], end[0] - start[0]) * 180) / Math.PI;
  const place = { transform: `translate(${below}) rotate(${turn})`, y: -0.22 * down, "font-size": 0.8 * down };
  make("text", { ...place, textLength: across, lengthAdjust: "spacingAndGlyphs" }, group, words);
}

function filter() {
  const slider = document.getElementById("look-least"), least = Number(slider?.value ?? 0);
  if (slider) {
    slider.nextElementSibling.value = `${least} %`;
    slider.parentElement.hidden = !shapes.size;
  }
  for (const row of rows()) {
    row.hidden = Number(row.dataset.score) < least;
    shapes.get(row)?.classList.toggle("below", row.hidden);
  }
  for (const list of document.querySelectorAll(".found-rows")) {
    const found = list.parentElement, shown = [...list.children].filter((row) => !row.hidden);
    for (const count of found.querySelectorAll("[data-count]")) {
      const many = shown.filter((row) => row.dataset.kind === count.dataset.count).length;
      count.querySelector("b").textContent = many;
      count.hidden = !many;
    }
    found.querySelector(".found-hidden").hidden = shown.length > 0;
  }
}

function switchLayers(svg) {
  const labels = [...document.querySelectorAll("[data-layer-of]")];
  for (const label of labels) {
    const name = label.dataset.layerOf;
    label.hidden = !svg.querySelector(`.${name}`);
    svg.classList.toggle(`no-${name}`, !label.firstElementChild.checked);
  }
  const box = document.querySelector(".look-layers");
  if (box) box.hidden = labels.every((label) => label.hidden);
}

// ---------------------------------------------------------------- a row and its shape, marked together

function mark(event) {
  const pointed = event.target.closest?.("[data-points]") ?? owners.get(event.target.closest?.(".look-picture g"));
  const row = pointed ?? document.activeElement.closest("[data-points]");
  for (const one of document.querySelectorAll(".marked")) one.classList.remove("marked");
  for (const one of row ? [row, shapes.get(row)] : []) one?.classList.add("marked");
}
for (const name of ["pointerover", "focusin"]) document.addEventListener(name, mark);
document.addEventListener("click", (event) => {
  const row = owners.get(event.target.closest?.(".look-picture g"));
  if (row && !String(getSelection())) row.focus();
});
document.addEventListener("input", (event) => {
  if (event.target.id === "look-least") filter();
  if (event.target.closest("[data-layer-of]")) switchLayers(document.querySelector(".look-picture svg"));
});
document.addEventListener("htmx:load", draw);
addEventListener("resize", draw);

document.addEventListener("darkroom:files", (event) => {
  const input = document.getElementById("look-file"), transfer = new DataTransfer();
  if (!input) return;
  event.preventDefault();
  transfer.items.add(event.detail[0]);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

draw();
