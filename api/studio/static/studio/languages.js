// The language switch loads the page anew: what was typed into its fields comes back.
const KEPT = "darkroom:typed", FIELDS = "main form[id] :is(input:not([type]), [type=text], [type=search], [type=number], textarea)[name]";
const fields = () => [...document.querySelectorAll(FIELDS)].map((field, place) => [`${place} ${field.form.id} ${field.name}`, field]);

export function watchLanguages() {
  document.getElementById("languages")?.addEventListener("submit", () => {
    const typed = fields().filter(([, field]) => field.value !== field.defaultValue).map(([key, field]) => [key, field.value]);
    sessionStorage.setItem(KEPT, JSON.stringify([location.pathname, typed]));
  });
  const [path, typed] = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  sessionStorage.removeItem(KEPT);
  if (path !== location.pathname) return;
  const there = new Map(fields());
  for (const [key, value] of typed) {
    const field = there.get(key);
    if (!field) continue;
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
