// A picture that can be enlarged: with buttons, the wheel, two fingers, a double click and the keys + - 0 1; dragged where it is larger.
const LARGEST = 16, STEP = 1.4;

export class Viewer {
  /** `changed` is called with this viewer where its person has moved it, so that others follow. */
  constructor(box, changed = () => {}) {
    this.changed = changed;
    this.frame = box.querySelector(".picture-frame");
    this.image = box.querySelector("img");
    this.label = box.querySelector(".viewer-scale");
    this.size = { width: Number(this.image.getAttribute("width")), height: Number(this.image.getAttribute("height")) };
    this.pointers = new Map();
    this.fit();
    box.querySelector(".viewer-buttons")?.removeAttribute("hidden");
    box.addEventListener("click", (event) => this.clicked(event));
    this.frame.addEventListener("dblclick", (event) => this.zoom(this.scale === 1 ? this.actual : 1, event));
    this.frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.frame.addEventListener(name, (event) => this[name](event));
    }
    this.frame.addEventListener("dragstart", (event) => event.preventDefault());
    new ResizeObserver(() => this.place()).observe(this.frame);
  }

  /** The picture is laid out as large as its frame: that is a scale of 1. This is the scale at which one pixel of it is one of the screen's. */
  get actual() { return 1 / (this.shown * devicePixelRatio); }

  /** How large a pixel of the picture is laid out. */
  get shown() { return Math.min(this.image.clientWidth / this.size.width, this.image.clientHeight / this.size.height); }

  fit() {
    Object.assign(this, { scale: 1, x: 0, y: 0 });
    this.move();
  }

  move() {
    this.place();
    this.changed(this);
  }

  /** The same part of the picture as another viewer shows of its own. */
  follow({ scale, x, y, size, shown }) {
    const [across, down] = [this.size.width * this.shown / (size.width * shown), this.size.height * this.shown / (size.height * shown)];
    Object.assign(this, { scale, x: x * across, y: y * down });
    this.place();
  }

  pan(x, y) {
    Object.assign(this, { x: this.x + x, y: this.y + y });
    this.move();
  }

  place() {
    const width = this.frame.clientWidth, height = this.frame.clientHeight;
    const spare = (size, shown) => Math.max(0, (size * this.scale - shown) / 2);
    const [mostX, mostY] = [spare(this.image.clientWidth, width), spare(this.image.clientHeight, height)];
    this.x = Math.max(-mostX, Math.min(mostX, this.x));
    this.y = Math.max(-mostY, Math.min(mostY, this.y));
    this.image.style.transform = this.scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.frame.classList.toggle("enlarged", this.scale > 1.001);
    this.label.textContent = `${Math.round((100 * this.scale) / this.actual)} %`;
  }

  /** To `scale`, with the point under the pointer staying where it is. */
  zoom(scale, point = null) {
    const before = this.scale, box = this.frame.getBoundingClientRect();
    this.scale = Math.max(Math.min(1, this.actual), Math.min(Math.max(LARGEST, this.actual), scale));
    if (point) {
      const [x, y] = [point.clientX - box.left - box.width / 2, point.clientY - box.top - box.height / 2];
      this.x = x - ((x - this.x) * this.scale) / before;
      this.y = y - ((y - this.y) * this.scale) / before;
    }
    this.move();
  }

  clicked(event) {
    if (event.target.closest(".picture-frame") && !event.ctrlKey && !event.metaKey) event.preventDefault();
    this.to(event.target.closest("[data-zoom]")?.dataset.zoom);
  }

  to(what) {
    if (what === "in") this.zoom(this.scale * STEP);
    if (what === "out") this.zoom(this.scale / STEP);
    if (what === "fit") this.fit();
    if (what === "actual") this.zoom(this.actual);
  }

  wheel(event) {
    if (!event.ctrlKey && this.scale === 1 && event.deltaY > 0) return; // the page scrolls on
    event.preventDefault();
    this.zoom(this.scale * Math.exp(-event.deltaY / 400), event);
  }

  pointerdown(event) {
    this.pointers.set(event.pointerId, event);
    if (this.scale > 1) this.frame.setPointerCapture(event.pointerId);
  }

  pointermove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (other) {
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
      this.zoom((this.scale * apart(event)) / apart(before), middle);
    } else if (this.scale > 1) {
      this.pan(event.clientX - before.clientX, event.clientY - before.clientY);
    }
  }

  pointerup(event) { this.pointers.delete(event.pointerId); }

  pointercancel(event) { this.pointers.delete(event.pointerId); }
}

const viewers = new WeakMap();
export const KEYS = { "+": "in", "=": "in", "-": "out", "0": "fit", z: "actual" };

export function watchViewers() {
  const begin = (part) => {
    for (const box of part.querySelectorAll("[data-viewer]")) if (!viewers.has(box)) viewers.set(box, new Viewer(box));
  };
  begin(document);
  document.addEventListener("htmx:load", (event) => begin(event.detail.elt.parentElement ?? document));
  document.addEventListener("keydown", (event) => {
    const box = document.querySelector("dialog[open] [data-viewer], main > .picture [data-viewer]");
    const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
    if (!box || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (KEYS[event.key]) { viewers.get(box)?.to(KEYS[event.key]); event.preventDefault(); }
    const button = /^[1-5f]$/.test(event.key) && box.closest(".picture").querySelector(`[data-key="${event.key}"]`);
    if (button) { button.click(); event.preventDefault(); }
  });
}
