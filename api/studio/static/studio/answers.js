// Answers under way: their text as it comes, over the job's own event stream, which goes on where it broke off.
import { text } from "./texts.js";

const RETRY_MILLISECONDS = 2000, NEAR = 120;
let source = null;

const isAtEnd = () => innerHeight + scrollY >= document.body.scrollHeight - NEAR;
const scrollToEnd = () => scrollTo(0, document.body.scrollHeight);

function say(words) {
  let box = document.getElementById("answer-status");
  if (!box) {
    box = Object.assign(document.createElement("p"), { id: "answer-status", className: "unseen" });
    box.setAttribute("role", "status");
    document.body.append(box);
  }
  box.textContent = words;
}

/** Opens the stream of the answer that the page waits for, if there is one. `reload` brings the page up to date. */
export function followAnswers(reload) {
  source?.close();
  const answer = document.querySelector("[data-stream]");
  if (!answer) return;
  const place = answer.querySelector("[data-text]"), state = answer.querySelector("[data-state]");
  let letters = [...place.textContent]; // offsets count letters, not UTF-16's units
  const wait = (words) => { state.textContent = words; state.hidden = false; };
  say(text("answering"));
  source = new EventSource(`${answer.dataset.stream}?after=${answer.dataset.after}`);
  source.addEventListener("text", (event) => {
    const follows = isAtEnd(), data = JSON.parse(event.data);
    if (data.offset < letters.length) { letters = letters.slice(0, data.offset); place.textContent = letters.join(""); }
    letters.push(...data.text);
    place.append(data.text);
    state.hidden = true;
    if (follows) scrollToEnd();
  });
  source.addEventListener("state", (event) => { if (!letters.length) wait(JSON.parse(event.data).words); });
  source.addEventListener("done", (event) => {
    source.close();
    const follows = isAtEnd(), turn = answer.closest(".turn");
    htmx.swap(turn, JSON.parse(event.data).html, { swapStyle: "outerHTML" });
    say(text("answered"));
    if (follows) scrollToEnd();
  });
  source.onopen = () => { if (letters.length) state.hidden = true; };
  source.onerror = (event) => {
    wait(text("reconnecting"));
    if (event.target.readyState === EventSource.CLOSED) retry(reload); // refused: by a proxy, or as the log-in is over
  };
}

function retry(reload) {
  setTimeout(() => reload().catch(() => retry(reload)), RETRY_MILLISECONDS);
}
