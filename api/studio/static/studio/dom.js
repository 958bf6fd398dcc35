// What every script needs of its page: the elements, their events, the keys.
export const byId = (id) => document.getElementById(id);
export const find = (selector, part = document) => part.querySelector(selector);
export const all = (selector, part = document) => [...part.querySelectorAll(selector)];
export const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

export const makeButton = (words, click) => {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: words });
  button.addEventListener("click", click);
  return button;
};

/** `names`: of events, with spaces between them. */
export function on(names, act, { target = window, ...options } = {}) {
  for (const name of names.split(" ")) target.addEventListener(name, act, options);
}

/** Clicks on what `selector` names, now or later: act(element, event). */
export const onClick = (selector, act) => on("click", (event) => {
  const found = event.target.closest?.(selector);
  if (found) act(found, event);
});

export const isTyping = ({ target }) => target.closest("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]");
export const isCommand = (event) => event.ctrlKey || event.metaKey;

/** The key that was pressed for the page: none with Ctrl or Alt, none while one types. */
export const keyOf = (event) => (isCommand(event) || event.altKey || isTyping(event) ? "" : event.key);

/** What is set in a form, as a query. */
export const queryOf = (form) => new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
