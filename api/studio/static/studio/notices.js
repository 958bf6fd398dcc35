// Sentences at the lower edge of the page, some with a button. A screen reader says them.
import { byId, find, makeButton } from "./dom.js";

/** Shows `words`; gives a function that takes them away. `button`: { label, click }. */
export function notify(words, { seconds = 6, button = null, isError = false } = {}) {
  const notice = Object.assign(document.createElement("p"), { className: isError ? "notice notice-error" : "notice", textContent: words });
  const close = () => { clearTimeout(timer); notice.remove(); };
  if (button) notice.append(makeButton(button.label, () => { close(); button.click(); }));
  const box = byId("notices"), home = find("dialog[open]") ?? document.body;
  if (box.parentElement !== home) home.append(box); // what is modal makes the rest of the page inert
  box.append(notice);
  const timer = seconds ? setTimeout(close, seconds * 1000) : 0;
  return close;
}

export const complain = (words) => notify(words, { isError: true, seconds: 10 });
