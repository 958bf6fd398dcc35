// The queue's page asks for its parts by itself (hx-trigger); what is left: not in the background, and at once after a button.
import { all, byId, on, queryOf } from "./dom.js";
import "./morph.js";

const PARTS = "#queue-rows, #queue-machines, #queue-models", filter = byId("queue-filter");
const isPart = (event) => event.detail.elt.matches(PARTS);
const refresh = () => { if (!document.hidden) all(PARTS).forEach((part) => htmx.trigger(part, "refresh")); };

on("htmx:beforeRequest", (event) => { if (document.hidden && isPart(event)) event.preventDefault(); });
on("visibilitychange htmx:sseClose", refresh);
on("htmx:afterRequest", (event) => {
  if (isPart(event)) byId("queue-stale").hidden = event.detail.xhr.status !== 0;
  else if (event.detail.requestConfig.verb === "post") refresh();
});
on("input", () => history.replaceState(null, "", `?${queryOf(filter)}`), { target: filter });
on("submit", (event) => { if (event.target.matches("[role=search]")) event.preventDefault(); });
