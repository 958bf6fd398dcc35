// The picture that is edited: painted on, zoomed and moved, its frame dragged; by mouse, pen, fingers and keys.
import { all, byId, clamp, find, isCommand, onClick } from "./dom.js";
import { Painting } from "./painting.js";
import { Plane } from "./plane.js";

const LARGEST = 24, MARGIN = 30, SNAP = 8, MOST_GROWN = 2048, PEN_ERASER = 32, MOVE = 40;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const pressureOf = ({ pointerType, pressure }) => (pointerType === "pen" ? pressure : undefined);

export class Easel extends Plane {
  origin = 0;
  tool = "brush";
  mode = "";

  /** `sides`: the inputs of the frame, by side. `changed`: called when the painting has changed. */
  constructor(width, height, sides, changed) {
    const view = byId("easel-view"), mask = byId("easel-mask");
    super(view);
    Object.assign(this, { width, height, sides, brush: byId("easel-brush"), at: { x: width / 2, y: height / 2 }, brushSize: byId("brush-size") });
    this.painting = new Painting(mask, width, height, () => { this.update(); changed(); });
    mask.hidden = byId("easel-frame").hidden = false;
    this.brushSize.value = Math.max(width, height) / 10;
    view.addEventListener("pointerleave", () => { this.brush.hidden = true; });
    view.addEventListener("keydown", (event) => this.keydown(event));
    onClick("#toolbar button", ({ dataset }) => this.press(dataset));
    this.brushSize.addEventListener("input", () => this.place());
    new ResizeObserver(() => this.fit()).observe(view);
  }

  get size() { return Number(this.brushSize.value); }

  grown(side) { return Math.max(0, Number(this.sides[side].value) || 0); }

  update() {
    for (const [name, list] of [["undo", "done"], ["redo", "undone"]]) find(`[data-do=${name}]`).disabled = !this.painting[list].length;
  }

  press({ tool, do: what }) {
    const { painting, size } = this, { done, undone } = painting, by = Math.max(1, Math.round(size / 8));
    if (tool) {
      this.tool = this.frame.dataset.tool = tool;
      for (const button of all("[data-tool]")) button.ariaPressed = button.dataset.tool === tool;
    }
    if (what === "undo") painting.move(done, undone);
    if (what === "redo") painting.move(undone, done);
    if (what === "invert" || what === "clear") painting.add(what);
    if (what === "smaller") this.brushSize.value = size - by;
    if (what === "larger") this.brushSize.value = size + by;
    this.to(what);
    this.place();
  }

  // What is seen

  bounded(scale) { return clamp(scale, this.fitted / 4, LARGEST); }

  fit() {
    const { clientWidth: wide, clientHeight: high } = this.frame, { width, height } = this.whole();
    this.scale = this.fitted = clamp(Math.min((wide - 2 * MARGIN) / width, (high - 2 * MARGIN) / height), 0.01, 8);
    this.x = (wide - width * this.scale) / 2 + this.grown("left") * this.scale;
    this.y = (high - height * this.scale) / 2 + this.grown("top") * this.scale;
    this.place();
  }

  /** The grown picture's size. */
  whole() {
    return { width: this.width + this.grown("left") + this.grown("right"), height: this.height + this.grown("top") + this.grown("bottom") };
  }

  /** edit.css lays out the picture, its frame and the brush by these. */
  place() {
    const { scale, x, y, at, size } = this, { width, height } = this.whole();
    const values = { scale, x, y, left: this.grown("left"), top: this.grown("top"), width, height, "brush-x": at.x, "brush-y": at.y, brush: size };
    for (const [name, value] of Object.entries(values)) this.frame.style.setProperty(`--${name}`, value);
  }

  // Mouse, pen, fingers

  toPicture(event) {
    const box = this.frame.getBoundingClientRect(), round = (value) => Math.round((value / this.scale) * 10) / 10;
    return [round(event.clientX - box.left - this.x), round(event.clientY - box.top - this.y)];
  }

  pointerdown(event) {
    const { edge } = event.target.dataset, isMiddle = event.button === 1;
    if (event.pointerType === "mouse" && event.button > 1) return;
    if (isMiddle) event.preventDefault();
    this.frame.setPointerCapture(event.pointerId);
    super.pointerdown(event);
    this.start = { x: event.clientX, y: event.clientY, grown: edge ? this.grown(edge) : 0 };
    if (this.pointers.size > 1) { this.painting.abandon(); this.mode = "pinch"; }
    else this.mode = edge ?? (this.tool === "hand" || isMiddle ? "drag" : "paint");
    const erases = this.tool === "eraser" || (event.buttons & PEN_ERASER) > 0;
    if (this.mode === "paint") this.painting.begin(...this.toPicture(event), this.size, erases, pressureOf(event));
  }

  pointermove(event) {
    [this.at.x, this.at.y] = this.toPicture(event);
    this.brush.hidden = event.pointerType === "touch" || this.tool === "hand" || "edge" in event.target.dataset;
    this.place();
    const { mode } = this, before = this.followed(event), events = event.getCoalescedEvents?.() ?? [];
    if (!before) return;
    if (mode === "paint") for (const one of events.length ? events : [event]) this.painting.extend(...this.toPicture(one), pressureOf(one));
    else if (mode in this.sides) this.dragEdge(mode, event);
    else this[mode]?.(event, before); // drag or pinch
  }

  dragEdge(side, event) {
    const by = side === "left" || side === "right" ? event.clientX - this.start.x : event.clientY - this.start.y;
    const grown = this.start.grown + (side === "left" || side === "top" ? -by : by) / this.scale, input = this.sides[side];
    input.value = clamp(Math.round(grown / SNAP) * SNAP, 0, MOST_GROWN) || "";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  pointerup(event) {
    super.pointerup(event);
    if (this.mode === "paint") this.painting.end();
    if (this.mode in this.sides) this.fit();
    if (!this.pointers.size) this.mode = "";
  }

  pointercancel(event) {
    this.painting.abandon();
    this.pointerup(event);
  }

  /** Arrows move the brush (with Shift they paint), the space bar paints. */
  keydown(event) {
    const isSpace = event.key === " ", [x, y] = ARROWS[event.key] ?? [0, 0], { at, size } = this, from = { ...at };
    if (isCommand(event) || event.altKey || !(x || y || isSpace)) return;
    event.preventDefault();
    if (this.tool === "hand") return this.shift(-x * MOVE, -y * MOVE);
    const by = Math.max(1, Math.round(size / 4));
    at.x = clamp(at.x + x * by, 0, this.width);
    at.y = clamp(at.y + y * by, 0, this.height);
    this.brush.hidden = false;
    this.place();
    if (!isSpace && !event.shiftKey) return;
    this.painting.begin(from.x, from.y, size, this.tool === "eraser");
    this.painting.extend(at.x, at.y);
    this.painting.end();
  }
}
