// Buttons that copy: data-copy names the element whose text it is, data-copy-text is the text itself.
import { find, onClick } from "./dom.js";
import { notify } from "./notices.js";
import { text } from "./texts.js";

onClick("[data-copy], [data-copy-text]", async (button) => {
  const { copy: place, copyText } = button.dataset; // without a place: what stands behind the button
  const element = place === "" ? button.nextElementSibling : place ? find(place) : button;
  try {
    await navigator.clipboard.writeText(copyText ?? element.textContent); // there is none on plain HTTP from another machine
    notify(text("copied"), { seconds: 2 });
  } catch {
    element.closest("details")?.setAttribute("open", "");
    getSelection().selectAllChildren(element);
    notify(text(document.execCommand("copy") ? "copied" : "notCopied"), { seconds: 4 });
  }
});
