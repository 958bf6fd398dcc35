// Answers under way: their text as it comes, over the job's own event stream, which goes on where it broke off.
import { byId, find } from "./dom.js";
import { text } from "./texts.js";

const RETRY_MILLISECONDS = 2000, NEAR = 120;
let source = null;

export const scrollToEnd = () => scrollTo(0, document.body.scrollHeight);
const say = (words) => { byId("answer-status").textContent = words; };

/** What changes the page, and who reads its end stays there. */
function atEnd(change) {
  const isNear = innerHeight + scrollY >= document.body.scrollHeight - NEAR;
  change();
  if (isNear) scrollToEnd();
}

/** Opens the stream of the answer that the page waits for, if there is one. `reload` brings the page up to date. */
export function followAnswers(reload) {
  source?.close();
  const answer = find("[data-stream]");
  if (!answer) return;
  const place = find("[data-text]", answer), state = find("[data-state]", answer);
  let letters = [...place.textContent]; // offsets count letters, not UTF-16's units
  const wait = (words) => { state.textContent = words; state.hidden = false; };
  const listen = (name, act) => source.addEventListener(name, ({ data }) => act(JSON.parse(data)));
  say(text("answering"));
  source = new EventSource(`${answer.dataset.stream}?after=${answer.dataset.after}`);
  listen("text", (data) => atEnd(() => {
    if (data.offset < letters.length) { letters = letters.slice(0, data.offset); place.textContent = letters.join(""); }
    letters.push(...data.text);
    place.append(data.text);
    state.hidden = true;
  }));
  listen("state", ({ words }) => { if (!letters.length) wait(words); });
  listen("done", ({ html }) => atEnd(() => {
    source.close();
    htmx.swap(answer.closest(".turn"), html, { swapStyle: "outerHTML" });
    say(text("answered"));
  }));
  source.onopen = () => { if (letters.length) state.hidden = true; };
  source.onerror = ({ target }) => {
    wait(text("reconnecting"));
    if (target.readyState === EventSource.CLOSED) retry(reload); // refused: by a proxy, or as the log-in is over
  };
}

function retry(reload) {
  setTimeout(() => reload().catch(() => retry(reload)), RETRY_MILLISECONDS);
}
