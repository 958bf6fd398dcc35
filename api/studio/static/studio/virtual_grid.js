// A list of any length as a grid of which only the rows near the screen are in the page.
//
// Items are plain objects; `make(item)` gives an item's element, `more()` asks for further ones. Padding above and below the rows stands
// for those that are not there, so that the scrollbar and the positions stay what they would be.
import { clamp, find, on } from "./dom.js";
import { letGo } from "./thumbnails.js";

const ROWS_AROUND = 3, ABOVE = 70, BELOW = 80; // what lies over the list at the screen's edges

export class VirtualGrid {
  items = [];
  added = 0;
  elements = new Map(); // by place
  focused = 0;
  columns = 1;
  rowHeight = 200;

  constructor(list, make, more) {
    Object.assign(this, { list, make, more });
    const schedule = () => { this.frame ??= requestAnimationFrame(() => this.draw()); };
    on("scroll", schedule, { passive: true });
    new ResizeObserver(schedule).observe(list);
  }

  get length() { return this.items.length; }

  append(items) {
    for (const item of items) item.order = this.added++;
    this.items.push(...items);
    this.reset();
  }

  /** Takes out the items for which `test` is true, and gives them. */
  remove(test) {
    const taken = this.items.filter(test), gone = new Set(taken);
    this.items = this.items.filter((item) => !gone.has(item));
    this.focused = this.within(this.focused);
    this.reset();
    return taken;
  }

  putBack(taken) {
    this.items = [...this.items, ...taken].sort((one, other) => one.order - other.order);
    this.reset();
  }

  within(place) { return clamp(place, 0, Math.max(0, this.length - 1)); }

  indexOf(id) { return this.items.findIndex((item) => item.id === id); }

  elementOf(id) { return this.elements.get(this.indexOf(id)); }

  /** After a change of the items: those that are in the page are made anew where they stand for another item. */
  reset() {
    this.takeOut((place, element) => this.items[place]?.id !== element.dataset.id);
    this.draw();
  }

  measure() {
    const style = getComputedStyle(this.list), gap = parseFloat(style.rowGap) || 0;
    this.columns = style.gridTemplateColumns.split(" ").length;
    this.rowHeight = (this.list.clientWidth + gap) / this.columns; // tiles are square
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    this.measure();
    const { rowHeight, columns, list } = this, rows = Math.ceil(this.length / columns), top = -list.getBoundingClientRect().top;
    const first = clamp(Math.floor(top / rowHeight) - ROWS_AROUND, 0, Math.max(0, rows - 1));
    const last = clamp(Math.ceil((top + innerHeight) / rowHeight) + ROWS_AROUND, Math.min(1, rows), rows);
    this.show(first * columns, Math.min(last * columns, this.length));
    list.style.paddingTop = `${first * rowHeight}px`;
    list.style.paddingBottom = `${(rows - last) * rowHeight}px`;
    if (last >= rows - 2 * ROWS_AROUND) this.more();
  }

  takeOut(test) {
    for (const [place, element] of this.elements) {
      if (!test(place, element)) continue;
      letGo(element);
      element.remove();
      this.elements.delete(place);
    }
  }

  show(start, stop) {
    const hadFocus = this.list.contains(document.activeElement);
    this.takeOut((place) => place < start || place >= stop);
    if (hadFocus && !this.list.contains(document.activeElement)) this.list.focus({ preventScroll: true }); // the keyboard keeps its place
    for (let place = stop - 1, before = null; place >= start; place--) {
      before = this.elements.get(place) ?? this.put(place, before);
    }
    this.markFocusable();
  }

  put(place, before) {
    const element = this.make(this.items[place]);
    element.ariaPosInSet = place + 1;
    element.ariaSetSize = -1;
    this.elements.set(place, element);
    return this.list.insertBefore(element, before);
  }

  /** One tile alone is in the order of Tab; arrows go to the others. */
  markFocusable() {
    const one = this.elements.has(this.focused) ? this.focused : Math.min(...this.elements.keys());
    for (const [place, element] of this.elements) find("a", element).tabIndex = place === one ? 0 : -1;
  }

  focus(place) {
    this.focused = this.within(place);
    const { list, rowHeight } = this, top = list.getBoundingClientRect().top + Math.floor(this.focused / this.columns) * rowHeight;
    if (top < ABOVE) scrollBy(0, top - ABOVE);
    else if (top + rowHeight > innerHeight - BELOW) scrollBy(0, top + rowHeight - innerHeight + BELOW);
    this.draw();
    this.elements.get(this.focused)?.querySelector("a").focus({ preventScroll: true });
  }
}
