// The picture that is edited: painted on, zoomed and moved, its frame dragged; by mouse, pen, fingers and keys.
import { Painting } from "./painting.js";

const STEP = 1.3, LARGEST = 24, MARGIN = 30, SNAP = 8, MOST_GROWN = 2048, PEN_ERASER = 32, MOVE = 40;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const byId = (id) => document.getElementById(id);
const clamp = (value, most, least = 0) => Math.max(least, Math.min(most, value));

export class Easel {
  tool = "brush";
  mode = "";
  pointers = new Map();

  /** `sides`: the inputs of the frame, by side. `changed`: called when the painting has changed. */
  constructor(width, height, sides, changed) {
    Object.assign(this, { width, height, sides, at: { x: width / 2, y: height / 2 }, toolbar: byId("toolbar"), brushSize: byId("brush-size") });
    for (const name of ["view", "layer", "frame", "brush"]) this[name] = byId(`easel-${name}`);
    this.painting = new Painting(byId("easel-mask"), () => { this.update(); changed(); });
    byId("easel-mask").hidden = this.frame.hidden = false;
    this.brushSize.value = Math.max(width, height) / 10;
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave", "wheel", "keydown"]) {
      this.view.addEventListener(name, (event) => this[name](event));
    }
    this.toolbar.addEventListener("click", (event) => this.press(event.target.closest("button")?.dataset ?? {}));
    this.brushSize.addEventListener("input", () => this.place());
    new ResizeObserver(() => this.fit()).observe(this.view);
  }

  get size() { return Number(this.brushSize.value); }

  set size(value) { this.brushSize.value = value; }

  grown(side) { return Math.max(0, Number(this.sides[side].value) || 0); }

  update() {
    for (const [name, list] of [["undo", "done"], ["redo", "undone"]]) this.toolbar.querySelector(`[data-do=${name}]`).disabled = !this.painting[list].length;
  }

  press({ tool, do: what }) {
    const { painting, size, scale } = this, { done, undone } = painting, by = Math.max(1, Math.round(size / 8));
    if (tool) {
      this.tool = this.view.dataset.tool = tool;
      for (const button of this.toolbar.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
    }
    if (what === "undo") painting.move(done, undone);
    if (what === "redo") painting.move(undone, done);
    if (what === "invert" || what === "clear") painting.add(what);
    if (what === "fit") this.fit();
    if (what === "in") this.zoom(scale * STEP);
    if (what === "out") this.zoom(scale / STEP);
    if (what === "smaller") this.size = size - by;
    if (what === "larger") this.size = size + by;
    this.place();
  }

  // What is seen

  fit() {
    const { clientWidth: wide, clientHeight: high } = this.view, { width, height } = this.whole();
    this.scale = this.fitted = clamp(Math.min((wide - 2 * MARGIN) / width, (high - 2 * MARGIN) / height), 8, 0.01);
    this.x = (wide - width * this.scale) / 2 + this.grown("left") * this.scale;
    this.y = (high - height * this.scale) / 2 + this.grown("top") * this.scale;
    this.place();
  }

  /** The grown picture's size. */
  whole() {
    return { width: this.width + this.grown("left") + this.grown("right"), height: this.height + this.grown("top") + this.grown("bottom") };
  }

  place() {
    const { scale, x, y, at, size } = this, { width, height } = this.whole(), px = (value) => `${value * scale}px`;
    this.layer.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    Object.assign(this.frame.style, { left: px(x / scale - this.grown("left")), top: px(y / scale - this.grown("top")), width: px(width), height: px(height) });
    Object.assign(this.brush.style, { left: px(x / scale + at.x - size / 2), top: px(y / scale + at.y - size / 2), width: px(size), height: px(size) });
  }

  /** To `scale`, with the point under the pointer staying where it is. */
  zoom(scale, point = null) {
    const box = this.view.getBoundingClientRect(), by = this.scale;
    const [x, y] = point ? [point.clientX - box.left, point.clientY - box.top] : [box.width / 2, box.height / 2];
    this.scale = clamp(scale, LARGEST, this.fitted / 4);
    this.shift(((x - this.x) * (by - this.scale)) / by, ((y - this.y) * (by - this.scale)) / by);
  }

  shift(x, y) {
    this.x += x;
    this.y += y;
    this.place();
  }

  // Mouse, pen, fingers

  toPicture(event) {
    const box = this.view.getBoundingClientRect(), round = (value) => Math.round((value / this.scale) * 10) / 10;
    return [round(event.clientX - box.left - this.x), round(event.clientY - box.top - this.y)];
  }

  pointerdown(event) {
    const { edge } = event.target.dataset, isMiddle = event.button === 1;
    if (event.pointerType === "mouse" && event.button > 1) return;
    if (isMiddle) event.preventDefault();
    this.view.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.start = { x: event.clientX, y: event.clientY, grown: edge ? this.grown(edge) : 0 };
    if (this.pointers.size > 1) { this.painting.abandon(); this.mode = "pinch"; }
    else this.mode = edge ?? (this.tool === "hand" || isMiddle ? "pan" : "paint");
    if (this.mode === "paint") this.painting.begin(...this.toPicture(event), this.size, this.tool === "eraser" || (event.buttons & PEN_ERASER) > 0);
  }

  pointermove(event) {
    [this.at.x, this.at.y] = this.toPicture(event);
    this.brush.hidden = event.pointerType === "touch" || this.tool === "hand" || "edge" in event.target.dataset;
    this.place();
    const { mode, pointers } = this, before = pointers.get(event.pointerId), events = event.getCoalescedEvents?.() ?? [];
    if (!before) return;
    if (mode === "paint") for (const one of events.length ? events : [event]) this.painting.extend(...this.toPicture(one));
    if (mode === "pan") this.shift(event.clientX - before.clientX, event.clientY - before.clientY);
    if (mode === "pinch") this.pinch(event, before);
    if (mode in this.sides) this.dragEdge(mode, event);
    pointers.set(event.pointerId, event);
  }

  pinch(event, before) {
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId) ?? before;
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    this.shift((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this.zoom((this.scale * apart(event)) / apart(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
  }

  dragEdge(side, event) {
    const by = side === "left" || side === "right" ? event.clientX - this.start.x : event.clientY - this.start.y;
    const grown = this.start.grown + (side === "left" || side === "top" ? -by : by) / this.scale, input = this.sides[side];
    input.value = clamp(Math.round(grown / SNAP) * SNAP, MOST_GROWN) || "";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  pointerup(event) {
    this.pointers.delete(event.pointerId);
    if (this.mode === "paint") this.painting.end();
    if (this.mode in this.sides) this.fit();
    if (!this.pointers.size) this.mode = "";
  }

  pointercancel(event) {
    this.painting.abandon();
    this.pointerup(event);
  }

  pointerleave() { this.brush.hidden = true; }

  wheel(event) {
    if (!event.ctrlKey && this.scale <= this.fitted && event.deltaY > 0) return; // the page scrolls on
    event.preventDefault();
    this.zoom(Math.max(this.scale * Math.exp(-event.deltaY / 400), this.fitted), event);
  }

  /** Arrows move the brush (with Shift they paint), the space bar paints. */
  keydown(event) {
    const isSpace = event.key === " ", [x, y] = ARROWS[event.key] ?? [0, 0], { at, size } = this, from = { ...at };
    if (event.ctrlKey || event.metaKey || event.altKey || !(x || y || isSpace)) return;
    event.preventDefault();
    if (this.tool === "hand") return this.shift(-x * MOVE, -y * MOVE);
    const by = Math.max(1, Math.round(size / 4));
    at.x = clamp(at.x + x * by, this.width);
    at.y = clamp(at.y + y * by, this.height);
    this.brush.hidden = false;
    this.place();
    if (!isSpace && !event.shiftKey) return;
    this.painting.begin(from.x, from.y, size, this.tool === "eraser");
    this.painting.extend(at.x, at.y);
    this.painting.end();
  }
}
