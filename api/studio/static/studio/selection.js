// Which pictures are chosen: by their boxes, with Shift from one to the other, with Ctrl one more, by keys.
export class Selection {
  ids = new Set();
  anchor = null;

  constructor(changed) { this.changed = changed; }

  get size() { return this.ids.size; }

  has(id) { return this.ids.has(id); }

  set(ids, on) {
    for (const id of ids) on ? this.ids.add(id) : this.ids.delete(id);
    this.changed();
  }

  toggle(id) {
    this.anchor = id;
    this.set([id], !this.ids.has(id));
  }

  /** From the last one that was toggled to this one. */
  extend(id, all) {
    const from = all.indexOf(this.anchor), to = all.indexOf(id);
    if (from < 0) return this.toggle(id);
    this.set(all.slice(Math.min(from, to), Math.max(from, to) + 1), true);
  }

  clear() {
    this.anchor = null;
    this.set([...this.ids], false);
  }
}
