// A picture that is zoomed and moved in its frame: by the wheel, two fingers, buttons, and where it is dragged.
import { on } from "./dom.js";

const STEP = 1.4;

/** Of those that extend it: `fitted`, the scale at which all is seen; `origin`, the place in the frame that x and y are from, 0 to 1. */
export class Plane {
  pointers = new Map();
  x = 0;
  y = 0;

  constructor(frame) {
    this.frame = frame;
    on("pointerdown pointermove pointerup pointercancel wheel", (event) => this[event.type](event), { target: frame, passive: false });
  }

  to(what) {
    if (what === "in") this.zoom(this.scale * STEP);
    if (what === "out") this.zoom(this.scale / STEP);
    if (what === "fit") this.fit();
    if (what === "actual") this.zoom(this.actual);
  }

  /** To `scale`, with the point under the pointer, or in the middle, staying where it is. */
  zoom(scale, point = null) {
    const { left, top, width, height } = this.frame.getBoundingClientRect(), before = this.scale;
    const { clientX, clientY } = point ?? { clientX: left + width / 2, clientY: top + height / 2 };
    this.scale = this.bounded(scale);
    const grown = 1 - this.scale / before, from = (at, start, size) => at - start - size * this.origin;
    this.shift((from(clientX, left, width) - this.x) * grown, (from(clientY, top, height) - this.y) * grown);
  }

  shift(x, y) {
    this.x += x;
    this.y += y;
    this.place();
  }

  wheel(event) {
    if (!event.ctrlKey && this.scale <= this.fitted && event.deltaY > 0) return; // the page scrolls on
    event.preventDefault();
    this.zoom(Math.max(this.scale * Math.exp(-event.deltaY / 400), this.fitted), event);
  }

  pointerdown(event) { this.pointers.set(event.pointerId, event); }

  /** The pointer's last event, where it is down. */
  followed(event) {
    const before = this.pointers.get(event.pointerId);
    if (before) this.pointers.set(event.pointerId, event);
    return before;
  }

  drag(event, before) { this.shift(event.clientX - before.clientX, event.clientY - before.clientY); }

  pinch(event, before) {
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId) ?? before;
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    this.shift((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this.zoom((this.scale * apart(event)) / apart(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
  }

  pointerup(event) { this.pointers.delete(event.pointerId); }

  pointercancel(event) { this.pointerup(event); }
}
