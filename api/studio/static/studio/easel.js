// The picture that is edited, under the hand: painted on, zoomed and moved, its frame dragged; by mouse, pen, fingers and keys.
import { Painting } from "./painting.js";

const STEP = 1.3, LARGEST = 24, MARGIN = 30, SNAP = 8, MOST_GROWN = 2048, PEN_ERASER = 32;
const byId = (id) => document.getElementById(id);

export class Easel {
  /** `sides`: the inputs of the frame, by side. `changed`: called when the painting has changed. */
  constructor(size, sides, changed) {
    Object.assign(this, { size, sides, tool: "brush", pointers: new Map(), mode: "", at: { x: size.width / 2, y: size.height / 2 } });
    [this.view, this.layer, this.frame, this.brush] = ["view", "layer", "frame", "brush"].map((name) => byId(`easel-${name}`));
    this.painting = new Painting(byId("easel-mask"), () => { this.update(); changed(); });
    byId("easel-mask").hidden = this.frame.hidden = false;
    this.brushSize = byId("brush-size");
    this.brushSize.value = Math.round(Math.max(size.width, size.height) / 10);
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave"]) {
      this.view.addEventListener(name, (event) => this[name](event));
    }
    this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.view.addEventListener("blur", () => { this.brush.hidden = true; });
    byId("toolbar").addEventListener("click", (event) => this.press(event.target.closest("button")?.dataset ?? {}));
    this.brushSize.addEventListener("input", () => this.showBrush());
    new ResizeObserver(() => this.fit()).observe(this.view);
    this.update();
  }

  grown(side) { return Math.max(0, Number(this.sides[side].value) || 0); }

  update() {
    byId("toolbar").querySelector("[data-do=undo]").disabled = !this.painting.done.length;
    byId("toolbar").querySelector("[data-do=redo]").disabled = !this.painting.undone.length;
  }

  press({ tool, do: what }) {
    if (tool) {
      this.tool = tool;
      for (const button of byId("toolbar").querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
      this.view.dataset.tool = tool;
    }
    if (what === "undo" || what === "redo") this.painting[what]();
    if (what === "invert" || what === "clear") this.painting.add(what);
    if (what === "fit") this.fit();
    if (what === "in") this.zoom(this.scale * STEP);
    if (what === "out") this.zoom(this.scale / STEP);
    if (what === "smaller" || what === "larger") {
      const by = Math.max(1, Math.round(this.brushSize.value / 8));
      this.brushSize.value = Number(this.brushSize.value) + (what === "larger" ? by : -by);
      this.showBrush();
    }
  }

  // -------------------------------------------------------------- what is seen

  fit() {
    const { clientWidth: wide, clientHeight: high } = this.view, [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((side) => this.grown(side));
    const width = this.size.width + left + right, height = this.size.height + top + bottom;
    this.scale = this.fitted = Math.max(0.01, Math.min((wide - 2 * MARGIN) / width, (high - 2 * MARGIN) / height, 8));
    this.x = (wide - width * this.scale) / 2 + left * this.scale;
    this.y = (high - height * this.scale) / 2 + top * this.scale;
    this.place();
  }

  place() {
    const { scale, x, y } = this, style = this.frame.style;
    this.layer.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    style.left = `${x - this.grown("left") * scale}px`;
    style.top = `${y - this.grown("top") * scale}px`;
    style.width = `${(this.size.width + this.grown("left") + this.grown("right")) * scale}px`;
    style.height = `${(this.size.height + this.grown("top") + this.grown("bottom")) * scale}px`;
    this.showBrush();
  }

  zoom(scale, point = null) {
    const box = this.view.getBoundingClientRect(), before = this.scale;
    const [px, py] = point ? [point.clientX - box.left, point.clientY - box.top] : [box.width / 2, box.height / 2];
    this.scale = Math.max(this.fitted / 4, Math.min(LARGEST, scale));
    this.x = px - ((px - this.x) * this.scale) / before;
    this.y = py - ((py - this.y) * this.scale) / before;
    this.place();
  }

  showBrush() {
    const size = this.brushSize.value * this.scale, style = this.brush.style;
    style.width = style.height = `${size}px`;
    style.transform = `translate(${this.x + this.at.x * this.scale - size / 2}px, ${this.y + this.at.y * this.scale - size / 2}px)`;
  }

  // -------------------------------------------------------------- mouse, pen, fingers

  toPicture(event) {
    const box = this.view.getBoundingClientRect(), round = (value) => Math.round(value * 10) / 10;
    return [round((event.clientX - box.left - this.x) / this.scale), round((event.clientY - box.top - this.y) / this.scale)];
  }

  pointerdown(event) {
    if (event.pointerType === "mouse" && event.button > 1) return;
    if (event.button === 1) event.preventDefault();
    this.view.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const edge = event.target.dataset.edge;
    if (this.pointers.size > 1) { this.painting.abandon(); this.mode = "pinch"; }
    else if (edge) this.mode = edge;
    else if (this.tool === "hand" || event.button === 1) this.mode = "pan";
    else {
      this.mode = "paint";
      this.painting.begin(...this.toPicture(event), Number(this.brushSize.value), this.tool === "eraser" || (event.buttons & PEN_ERASER) > 0);
    }
    this.start = { x: event.clientX, y: event.clientY, grown: edge ? this.grown(edge) : 0 };
  }

  pointermove(event) {
    [this.at.x, this.at.y] = this.toPicture(event);
    this.brush.hidden = event.pointerType === "touch" || this.tool === "hand" || Boolean(event.target.dataset.edge);
    this.showBrush();
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.mode === "paint") for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) this.painting.extend(...this.toPicture(one));
    else if (this.mode === "pan") this.shift(event.clientX - before.clientX, event.clientY - before.clientY);
    else if (this.mode === "pinch") this.pinch(event, before);
    else this.dragEdge(event);
    this.pointers.set(event.pointerId, event);
  }

  shift(x, y) {
    this.x += x;
    this.y += y;
    this.place();
  }

  pinch(event, before) {
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    if (!other) return;
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    this.shift((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this.zoom((this.scale * apart(event)) / apart(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
  }

  dragEdge(event) {
    const side = this.mode, by = { left: this.start.x - event.clientX, right: event.clientX - this.start.x, top: this.start.y - event.clientY, bottom: event.clientY - this.start.y }[side];
    const grown = Math.round((this.start.grown + by / this.scale) / SNAP) * SNAP;
    this.sides[side].value = Math.max(0, Math.min(MOST_GROWN, grown)) || "";
    this.sides[side].dispatchEvent(new Event("input", { bubbles: true }));
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

  // -------------------------------------------------------------- keys

  /** In the painting area: arrows move the brush (with Shift they paint), the space bar paints. */
  key(event) {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    const isSpace = event.key === " ";
    if (event.ctrlKey || event.metaKey || event.altKey || !(x || y || isSpace)) return;
    event.preventDefault();
    if (this.tool === "hand") return this.shift(-x * 40, -y * 40);
    const by = Math.max(1, Math.round(this.brushSize.value / 4)), from = { ...this.at };
    this.at.x = Math.max(0, Math.min(this.size.width, this.at.x + x * by));
    this.at.y = Math.max(0, Math.min(this.size.height, this.at.y + y * by));
    this.brush.hidden = false;
    this.showBrush();
    if (!isSpace && !event.shiftKey) return;
    this.painting.begin(from.x, from.y, Number(this.brushSize.value), this.tool === "eraser");
    this.painting.extend(this.at.x, this.at.y);
    this.painting.end();
  }
}
