// Sentences at the lower edge of the page, some with a button. A screen reader says them.
const place = () => {
  let box = document.getElementById("notices");
  if (!box) {
    box = Object.assign(document.createElement("div"), { id: "notices", className: "notices" });
    box.setAttribute("role", "status");
    document.body.append(box);
  }
  // Above everything, a dialog too: what is modal makes the rest of the page inert.
  const home = document.querySelector("dialog[open]") ?? document.body;
  if (box.parentElement !== home) home.append(box);
  return box;
};

/** Shows `text`; gives a function that takes it away. `button`: { label, click }. */
export function notify(text, { seconds = 6, button = null, isError = false } = {}) {
  const notice = document.createElement("p");
  notice.className = isError ? "notice notice-error" : "notice";
  notice.append(text);
  const close = () => { clearTimeout(timer); notice.remove(); };
  if (button) {
    const control = Object.assign(document.createElement("button"), { type: "button", textContent: button.label, className: "plain" });
    control.addEventListener("click", () => { close(); button.click(); });
    notice.append(control);
  }
  place().append(notice);
  const timer = seconds ? setTimeout(close, seconds * 1000) : 0;
  return close;
}
