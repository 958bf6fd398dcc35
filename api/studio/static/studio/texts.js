// The page's own words, which its template has translated: <template id="texts" data-…>.
const words = document.getElementById("texts")?.dataset ?? {};

export const text = (name, values = {}) =>
  Object.entries(values).reduce((said, [key, value]) => said.replace(`{${key}}`, value), words[name] ?? "");
