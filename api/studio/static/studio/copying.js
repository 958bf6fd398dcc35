// Buttons that copy: data-copy names the element whose text it is, data-copy-text is the text itself.
import { notify } from "./notices.js";
import { text } from "./texts.js";

async function copy(words, element) {
  try {
    await navigator.clipboard.writeText(words); // there is none on plain HTTP from another machine
    notify(text("copied"), { seconds: 2 });
  } catch {
    if (element) mark(element);
    notify(text(document.execCommand("copy") ? "copied" : "notCopied"), { seconds: 4 });
  }
}

function mark(element) {
  element.closest("details")?.setAttribute("open", "");
  getSelection().selectAllChildren(element);
}

export function watchCopyButtons() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-text]");
    if (!button) return;
    const { copy: place } = button.dataset; // "next": what stands behind the button
    const element = place === "next" ? button.nextElementSibling : place ? document.querySelector(place) : null;
    copy(element?.textContent ?? button.dataset.copyText, element ?? button);
  });
}
