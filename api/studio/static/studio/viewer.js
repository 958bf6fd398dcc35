// A picture that can be enlarged: with buttons, the wheel, two fingers, a double click; dragged where it is larger.
import { all, clamp, find, isCommand, on } from "./dom.js";
import { Plane } from "./plane.js";

const LARGEST = 16;

export class Viewer extends Plane {
  fitted = 1;
  origin = 0.5;

  /** `changed` is called with this viewer where its person has moved it, so that others follow. */
  constructor(box, changed = () => {}) {
    super(find(".picture-frame", box));
    Object.assign(this, { changed, image: find("img", box), label: find(".viewer-scale", box) });
    this.size = { width: Number(this.image.getAttribute("width")), height: Number(this.image.getAttribute("height")) };
    this.fit();
    box.addEventListener("click", (event) => this.clicked(event));
    this.frame.addEventListener("dblclick", (event) => this.zoom(this.scale === 1 ? this.actual : 1, event));
    this.frame.addEventListener("dragstart", (event) => event.preventDefault());
    new ResizeObserver(() => this.show()).observe(this.frame);
  }

  /** The picture is laid out as large as its frame: that is a scale of 1. This is the scale at which one pixel of it is one of the screen's. */
  get actual() { return 1 / (this.shown * devicePixelRatio); }

  /** How large a pixel of the picture is laid out. */
  get shown() { return Math.min(this.image.clientWidth / this.size.width, this.image.clientHeight / this.size.height); }

  bounded(scale) { return clamp(scale, Math.min(1, this.actual), Math.max(LARGEST, this.actual)); }

  fit() {
    Object.assign(this, { scale: 1, x: 0, y: 0 });
    this.place();
  }

  place() {
    this.show();
    this.changed(this);
  }

  /** The same part of the picture as another viewer shows of its own. */
  follow({ scale, x, y, size, shown }) {
    const part = (side) => (this.size[side] * this.shown) / (size[side] * shown);
    Object.assign(this, { scale, x: x * part("width"), y: y * part("height") });
    this.show();
  }

  show() {
    const { image, frame, scale } = this, spare = (size) => Math.max(0, (image[size] * scale - frame[size]) / 2);
    const [across, down] = [spare("clientWidth"), spare("clientHeight")];
    this.x = clamp(this.x, -across, across);
    this.y = clamp(this.y, -down, down);
    image.style.transform = scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${scale})`;
    frame.classList.toggle("enlarged", scale > 1.001);
    this.label.textContent = `${Math.round((100 * scale) / this.actual)} %`;
  }

  clicked(event) {
    if (event.target.closest(".picture-frame") && !isCommand(event)) event.preventDefault();
    this.to(event.target.closest("[data-zoom]")?.dataset.zoom);
  }

  pointerdown(event) {
    super.pointerdown(event);
    if (this.scale > 1) this.frame.setPointerCapture(event.pointerId);
  }

  pointermove(event) {
    const before = this.followed(event);
    if (!before) return;
    if (this.pointers.size > 1) this.pinch(event, before);
    else if (this.scale > 1) this.drag(event, before);
  }
}

const viewers = new WeakMap();

function begin() {
  for (const box of all("[data-viewer]")) if (!viewers.has(box)) viewers.set(box, new Viewer(box));
}

begin();
on("htmx:load", begin);
