// The page's own words, which its templates have translated: every <template data-texts data-…>.
const words = Object.assign({}, ...[...document.querySelectorAll("template[data-texts]")].map((one) => one.dataset));

/** Numbers as the page's language writes them. */
export const text = (name, values = {}) =>
  Object.entries(values).reduce((said, [key, value]) => said.replace(`{${key}}`, value.toLocaleString(document.documentElement.lang)), words[name] ?? "");
