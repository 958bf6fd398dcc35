// What a request of htmx that failed says to the person. What asks by itself (every other second, or while one types) keeps silent.
import { notify } from "./notices.js";
import { text } from "./texts.js";

const BY_ITSELF = "[hx-trigger^=every], #tokens";
const REASONS = { 403: "refused", 404: "gone", 413: "tooLarge" };

const tell = (event, words) => {
  if (!event.detail.elt.matches?.(BY_ITSELF)) notify(words, { isError: true, seconds: 10 });
};

export function watchFailures() {
  for (const name of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(name, (event) => tell(event, text("lost")));
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    const isSentence = (xhr.getResponseHeader("Content-Type") ?? "").startsWith("text/plain");
    tell(event, isSentence ? xhr.responseText : text(REASONS[xhr.status] ?? "failed"));
  });
}
