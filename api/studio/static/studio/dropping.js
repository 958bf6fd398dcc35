// A picture that is dropped or pasted on a page: what its file says of how it was made goes into the form at /.
import { notify } from "./notices.js";
import { post } from "./requests.js";
import { text } from "./texts.js";

const WAITING = "darkroom:form"; // the form on its way from another page
const TYPES = /^image\/(png|jpeg|webp)$/;

/** A page may take files for itself (chat.js, look.js, edit.js). */
const take = (files) => {
  if (files.length && document.dispatchEvent(new CustomEvent("darkroom:files", { detail: files, cancelable: true }))) load(files[0]);
};

/** The server's answer to a picture; null where it was refused, which is said. */
export async function sendPicture(address, file) {
  if (!TYPES.test(file.type)) return refuse(text("noPicture"));
  const values = new FormData(), close = notify(text("reading"), { seconds: 0 });
  values.set("picture", file);
  try {
    const answer = await post(address, values);
    if (answer.ok) return answer;
    if (answer.status === 413) return refuse(text("tooLarge"));
    const isSentence = (answer.headers.get("Content-Type") ?? "").startsWith("text/plain");
    return refuse(isSentence ? await answer.text() : text("failed"));
  } catch {
    return refuse(text("lost"));
  } finally {
    close();
  }
}

function refuse(words) {
  notify(words, { isError: true, seconds: 10 });
  return null;
}

async function load(file) {
  const answer = await sendPicture("/studio/read-picture", file);
  if (!answer) return;
  const said = await answer.text();
  if (document.getElementById("prompt-form")) put(said);
  else { sessionStorage.setItem(WAITING, said); location.assign("/"); }
}

function put(html) {
  const form = document.getElementById("prompt-form");
  htmx.swap(form, html, { swapStyle: "outerHTML" });
  document.getElementById("prompt-form").scrollIntoView({ block: "nearest" });
}

export function watchDrops() {
  const waiting = sessionStorage.getItem(WAITING);
  if (waiting && location.pathname === "/") {
    sessionStorage.removeItem(WAITING);
    put(waiting);
  }
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0;
  const mark = (by) => { inside = Math.max(0, inside + by); document.body.classList.toggle("dropping", inside > 0); };
  document.body.dataset.drop = text("drop");
  addEventListener("dragenter", (event) => { if (hasFiles(event)) mark(1); });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) mark(-1); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(-inside);
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((one) => TYPES.test(one.type));
    if (files.length) { event.preventDefault(); take(files); }
  });
  document.addEventListener("darkroom:picture", (event) => load(event.detail));
}
