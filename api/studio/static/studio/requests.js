// Requests to our own server, as htmx would send them.
const token = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

/** To the log-in, where the answer says so: nothing comes after that on this page. */
async function followed(answer) {
  const address = answer.headers.get("HX-Redirect");
  if (!address) return answer;
  location.assign(address);
  return new Promise(() => {});
}

/** The answer, whatever its status. Throws where the server is away. */
export async function post(address, values, { keepalive = false } = {}) {
  const body = values instanceof FormData ? values : new URLSearchParams(values);
  const headers = { "X-CSRFToken": token(), "HX-Request": "true" };
  return followed(await fetch(address, { method: "POST", body, keepalive, headers, credentials: "same-origin" }));
}

/** A page's part as HTML. Throws for errors, too. */
export async function getPart(address) {
  const answer = await followed(await fetch(address, { headers: { "HX-Request": "true" }, credentials: "same-origin" }));
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.text();
}
