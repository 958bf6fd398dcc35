// What was typed into a form is there again after a log-in or a reload, for the same person in the same tab, until it was sent.
export function keepDraft(id) {
  const key = `draft ${id} ${document.body.dataset.person}`, form = () => document.getElementById(id);
  const typed = () => [...new FormData(form())].filter(([name, value]) => value && name !== "csrfmiddlewaretoken");
  const save = (event) => { if (event.target.form === form()) sessionStorage.setItem(key, JSON.stringify(typed())); };
  document.addEventListener("input", save);
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (detail.elt === form() && detail.successful && !detail.xhr.getResponseHeader("HX-Reswap")) sessionStorage.removeItem(key);
  });
  const saved = sessionStorage.getItem(key);
  if (saved && !location.search && location.pathname === "/") fill(form(), JSON.parse(saved));
}

function fill(form, values) {
  const left = [...form.elements];
  const take = (name) => left.splice(left.findIndex((field) => field.name === name) >>> 0, 1)[0];
  for (const [name, value] of values) {
    const field = take(name);
    if (!field) continue;
    if (field.type === "checkbox") field.checked = true;
    else field.value = value;
    if (field.closest("details")) field.closest("details").open = true;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
