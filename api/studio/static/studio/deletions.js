// Pictures and conversations that are leaving: gone from the page at once, and from the server when nobody took that back.
import { isCommand, isTyping, on } from "./dom.js";
import { complain, notify } from "./notices.js";
import { post } from "./requests.js";
import { text } from "./texts.js";

const UNDO_SECONDS = 8, MOST_AT_ONCE = 200;
const MOST_ON_LEAVING = 1000; // a browser carries 64 KiB of requests beyond a page's end

const leaving = new Set();

export const isLeaving = (id) => [...leaving].some((deletion) => deletion.left.includes(id));

class Deletion {
  /** `putBack` is called with the ids that stay after all, and whether a person said so. */
  constructor(address, ids, putBack) {
    Object.assign(this, { address, left: [...ids], putBack, isSent: false });
    this.timer = setTimeout(() => this.send(), UNDO_SECONDS * 1000);
    this.close = notify(text("deleted", { count: ids.length }), { seconds: 0, button: { label: text("undo"), click: () => this.keep(true) } });
    leaving.add(this);
  }

  begin() {
    clearTimeout(this.timer);
    this.close();
    this.isSent = true;
  }

  keep(isWanted) {
    this.begin();
    leaving.delete(this);
    this.putBack(new Set(this.left), isWanted);
  }

  /** Part by part; what could not be deleted comes back. */
  async send() {
    const count = this.left.length;
    if (this.isSent) return;
    this.begin();
    try {
      while (this.left.length) {
        await this.post(this.left.slice(0, MOST_AT_ONCE));
        this.left.splice(0, MOST_AT_ONCE);
      }
      leaving.delete(this);
    } catch {
      const done = count - this.left.length;
      this.keep(false);
      complain(done ? text("lostPartly", { count: done }) : text("lost"));
    }
  }

  /** What was not sent yet, at once: the page ends. */
  sendAll() {
    this.begin();
    while (this.left.length) this.post(this.left.splice(0, MOST_AT_ONCE)).catch(() => {});
  }

  async post(part) {
    const answer = await post(this.address, { action: "delete", ids: part.join(",") }, { keepalive: true });
    if (!answer.ok) throw new Error(String(answer.status));
  }
}

export const deleteLater = (...values) => new Deletion(...values);

on("keydown", (event) => {
  const last = [...leaving].findLast((deletion) => !deletion.isSent);
  if (!last || !isCommand(event) || event.shiftKey || event.key !== "z" || isTyping(event)) return;
  event.preventDefault();
  last.keep(true);
});
on("beforeunload", (event) => {
  if ([...leaving].reduce((sum, { left }) => sum + left.length, 0) <= MOST_ON_LEAVING) return;
  event.preventDefault(); // the browser asks whether to leave; meanwhile they are sent
  leaving.forEach((deletion) => deletion.send());
});
on("pagehide", () => leaving.forEach((deletion) => deletion.sendAll()));
