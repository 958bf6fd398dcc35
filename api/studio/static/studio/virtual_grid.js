// A list of any length as a grid of which only the rows near the screen are in the page.
//
// Items are plain objects; `make(item)` gives an item's element. Padding above and below the rows stands for those that are not there, so
// that the scrollbar and the positions stay what they would be.

import { letGo } from "./thumbnails.js";

const ROWS_AROUND = 3;

export class VirtualGrid {
  constructor(list, make, { more }) {
    Object.assign(this, { list, make, more, items: [], added: 0, elements: new Map(), focused: 0, columns: 1, rowHeight: 200 });
    this.draw = this.draw.bind(this);
    addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => { this.measure(); this.schedule(); }).observe(list);
  }

  get length() { return this.items.length; }

  append(items) {
    for (const item of items) item.order = this.added++;
    this.items.push(...items);
    this.reset();
  }

  /** Takes out the items for which `test` is true, and gives them. */
  remove(test) {
    const taken = this.items.filter(test);
    this.items = this.items.filter((item) => !test(item));
    this.focused = Math.max(0, Math.min(this.focused, this.items.length - 1));
    this.reset();
    return taken;
  }

  putBack(taken) {
    this.items = [...this.items, ...taken].sort((one, other) => one.order - other.order);
    this.reset();
  }

  indexOf(id) { return this.items.findIndex((item) => item.id === id); }

  /** After a change of the items: those that are in the page are made anew where they stand for another item. */
  reset() {
    for (const [place, element] of this.elements) {
      if (this.items[place]?.id !== element.dataset.id) this.takeOut(place, element);
    }
    this.draw();
  }

  refresh(id, update) {
    const element = this.elements.get(this.indexOf(id));
    if (element) update(element);
  }

  measure() {
    const style = getComputedStyle(this.list);
    this.columns = style.gridTemplateColumns.split(" ").length;
    const gap = parseFloat(style.rowGap) || 0;
    const width = (this.list.clientWidth - gap * (this.columns - 1)) / this.columns;
    this.rowHeight = width + gap; // tiles are square
  }

  schedule() {
    this.frame ??= requestAnimationFrame(this.draw);
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (!this.items.length) return this.clear();
    this.measure();
    const top = -this.list.getBoundingClientRect().top, rows = Math.ceil(this.items.length / this.columns);
    const first = Math.max(0, Math.floor(top / this.rowHeight) - ROWS_AROUND);
    const last = Math.min(rows, Math.ceil((top + innerHeight) / this.rowHeight) + ROWS_AROUND);
    this.show(Math.min(first, rows - 1) * this.columns, Math.max(1, last) * this.columns);
    this.list.style.paddingTop = `${Math.min(first, rows - 1) * this.rowHeight}px`;
    this.list.style.paddingBottom = `${Math.max(0, rows - Math.max(1, last)) * this.rowHeight}px`;
    if (last >= rows - 2 * ROWS_AROUND) this.more();
  }

  takeOut(place, element) {
    letGo(element);
    element.remove();
    this.elements.delete(place);
  }

  clear() {
    for (const [place, element] of this.elements) this.takeOut(place, element);
    this.list.style.paddingTop = this.list.style.paddingBottom = "";
    this.more();
  }

  show(start, stop) {
    const kept = document.activeElement && [...this.elements.entries()].find(([, element]) => element.contains(document.activeElement));
    for (const [place, element] of this.elements) {
      if (place < start || place >= stop) this.takeOut(place, element);
    }
    if (kept && !this.elements.has(kept[0])) this.list.focus({ preventScroll: true }); // so that the keyboard does not lose its place
    let before = null;
    for (let place = Math.min(stop, this.items.length) - 1; place >= start; place--) {
      let element = this.elements.get(place);
      if (!element) {
        element = this.make(this.items[place]);
        element.setAttribute("aria-posinset", place + 1);
        element.setAttribute("aria-setsize", -1);
        this.elements.set(place, element);
        this.list.insertBefore(element, before);
      }
      before = element;
    }
    this.markFocusable();
  }

  /** One tile alone is in the order of Tab; arrows go to the others. */
  markFocusable() {
    for (const [place, element] of this.elements) element.querySelector("a").tabIndex = place === this.focused ? 0 : -1;
    const first = Math.min(...this.elements.keys());
    if (!this.elements.has(this.focused) && this.elements.size) this.elements.get(first).querySelector("a").tabIndex = 0;
  }

  focus(place) {
    this.focused = Math.max(0, Math.min(place, this.items.length - 1));
    this.scrollTo(this.focused);
    this.draw();
    this.elements.get(this.focused)?.querySelector("a").focus({ preventScroll: true });
  }

  scrollTo(place) {
    const row = Math.floor(place / this.columns) * this.rowHeight;
    const top = this.list.getBoundingClientRect().top + row;
    if (top < 70) scrollBy(0, top - 70);
    else if (top + this.rowHeight > innerHeight - 80) scrollBy(0, top + this.rowHeight - innerHeight + 80);
  }
}
