// The queue's page asks for its parts by itself (hx-trigger); what is left: not in the background, and at once after a button.
import "./morph.js";

const PARTS = "#queue-rows, #queue-machines, #queue-models", filter = document.getElementById("queue-filter");
const isPart = (event) => event.detail.elt.matches(PARTS);
const refresh = () => document.querySelectorAll(PARTS).forEach((part) => htmx.trigger(part, "refresh"));

document.addEventListener("htmx:beforeRequest", (event) => { if (document.hidden && isPart(event)) event.preventDefault(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
document.addEventListener("htmx:afterRequest", (event) => {
  if (isPart(event)) document.getElementById("queue-stale").hidden = event.detail.xhr.status !== 0;
  else if (event.detail.requestConfig.verb === "post") refresh();
});
document.addEventListener("htmx:sseClose", refresh);
filter.addEventListener("input", () => {
  const values = [...new FormData(filter)].filter(([, value]) => value);
  history.replaceState(null, "", `?${new URLSearchParams(values)}`);
});
filter.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("model-filter").addEventListener("submit", (event) => event.preventDefault());
