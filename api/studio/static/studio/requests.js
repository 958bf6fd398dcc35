// Requests to our own server, as htmx would send them.
const token = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

/** The answer of a page's part. Throws for a server that is away, and for errors with a sentence in `detail`. */
export async function post(address, values, { keepalive = false } = {}) {
  const body = values instanceof FormData ? values : new URLSearchParams(values);
  const answer = await fetch(address, {
    method: "POST", body, keepalive, headers: { "X-CSRFToken": token(), "HX-Request": "true" }, credentials: "same-origin",
  });
  if (answer.headers.get("HX-Redirect")) location.assign(answer.headers.get("HX-Redirect"));
  return answer;
}

export async function getPart(address) {
  const answer = await fetch(address, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
  if (answer.headers.get("HX-Redirect")) location.assign(answer.headers.get("HX-Redirect"));
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.text();
}
