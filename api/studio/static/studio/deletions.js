// Pictures that are leaving: gone from the page at once, and from the server when nobody took that back.
import { notify } from "./notices.js";
import { post } from "./requests.js";
import { text } from "./texts.js";

const UNDO_SECONDS = 8, MOST_AT_ONCE = 200;
const MOST_ON_LEAVING = 1000; // a browser carries 64 KiB of requests beyond a page's end

const leaving = new Set();

export const isLeaving = (id) => [...leaving].some((deletion) => deletion.ids.has(id));

/** `putBack` is called with the ids that stay after all, and whether a person said so. */
export function deleteLater(address, ids, putBack) {
  const deletion = new Deletion(address, ids, putBack);
  leaving.add(deletion);
}

/** Whether there was one that could still be taken back. */
export function undoLast() {
  const last = [...leaving].findLast((deletion) => !deletion.parts);
  last?.undo();
  return Boolean(last);
}

class Deletion {
  constructor(address, ids, putBack) {
    Object.assign(this, { address, ids: new Set(ids), putBack, parts: null });
    this.timer = setTimeout(() => this.send(), UNDO_SECONDS * 1000);
    this.close = notify(text("deleted", { count: ids.length }), { seconds: 0, button: { label: text("undo"), click: () => this.undo() } });
  }

  undo() {
    clearTimeout(this.timer);
    this.close();
    leaving.delete(this);
    this.putBack(this.ids, true);
  }

  /** Part by part; what could not be deleted comes back. */
  async send() {
    if (this.parts) return;
    this.cut();
    let done = 0;
    while (this.parts.length) {
      const part = this.parts.shift();
      try {
        await this.post(part);
      } catch {
        const kept = new Set([part, ...this.parts].flat());
        leaving.delete(this);
        this.putBack(kept, false);
        notify(done ? text("lostPartly", { count: done }) : text("lost"), { isError: true, seconds: 10 });
        return;
      }
      done += part.length;
    }
    leaving.delete(this);
  }

  /** What was not sent yet, at once: the page ends. */
  sendAll() {
    if (!this.parts) this.cut();
    this.parts.splice(0).forEach((part) => this.post(part).catch(() => {}));
  }

  cut() {
    clearTimeout(this.timer);
    this.close();
    const ids = [...this.ids];
    this.parts = [];
    while (ids.length) this.parts.push(ids.splice(0, MOST_AT_ONCE));
  }

  async post(part) {
    const answer = await post(this.address, { action: "delete", ids: part.join(",") }, { keepalive: true });
    if (!answer.ok) throw new Error(String(answer.status));
  }

  get unsent() { return this.parts ? this.parts.flat().length : this.ids.size; }
}

addEventListener("beforeunload", (event) => {
  if ([...leaving].reduce((sum, deletion) => sum + deletion.unsent, 0) <= MOST_ON_LEAVING) return;
  event.preventDefault(); // the browser asks whether to leave; meanwhile they are sent
  leaving.forEach((deletion) => deletion.send());
});
addEventListener("pagehide", () => leaving.forEach((deletion) => deletion.sendAll()));
