// Requests to our own server, as htmx would send them, and what it says where one fails.
import { on } from "./dom.js";
import { complain, notify } from "./notices.js";
import { text } from "./texts.js";

const REASONS = { 403: "refused", 404: "gone", 413: "tooLarge" };
const token = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

/** To the log-in, where the answer says so: nothing comes after that on this page. */
async function ask(address, options) {
  const answer = await fetch(address, { ...options, credentials: "same-origin" }), there = answer.headers.get("HX-Redirect");
  if (!there) return answer;
  location.assign(there);
  return new Promise(() => {});
}

/** The answer, whatever its status. Throws where the server is away. */
export function post(address, values, { keepalive = false } = {}) {
  const body = values instanceof FormData ? values : new URLSearchParams(values);
  return ask(address, { method: "POST", body, keepalive, headers: { "X-CSRFToken": token(), "HX-Request": "true" } });
}

/** A page's part as HTML. Throws for errors, too. */
export async function getPart(address) {
  const answer = await ask(address, { headers: { "HX-Request": "true" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.text();
}

/** Of an answer with an error: the server's own sentence, or one for its status. */
const reason = (status, type, said) => (type?.startsWith("text/plain") ? said : text(REASONS[status] ?? "failed"));

/** The answer to a picture; null where it was refused, which is said (of which file where there are several). */
export async function sendPicture(address, file, { isNamed = false } = {}) {
  const values = new FormData(), close = notify(text("reading"), { seconds: 0 });
  values.set("picture", file);
  try {
    if (!file.type.startsWith("image/")) throw text("noPicture");
    const answer = await post(address, values).catch(() => { throw text("lost"); });
    if (answer.ok) return answer;
    throw reason(answer.status, answer.headers.get("Content-Type"), await answer.text());
  } catch (words) {
    complain(isNamed ? `${file.name}: ${words}` : words);
    return null;
  } finally {
    close();
  }
}

// What a request of htmx that failed says. What asks by itself (every other second, or while one types) keeps silent.
const BY_ITSELF = "[hx-trigger^=every], #tokens";
const tell = ({ elt }, words) => { if (!elt.matches?.(BY_ITSELF)) complain(words); };

on("htmx:sendError htmx:timeout", ({ detail }) => tell(detail, text("lost")));
on("htmx:responseError", ({ detail: { elt, xhr } }) => tell({ elt }, reason(xhr.status, xhr.getResponseHeader("Content-Type"), xhr.responseText)));
