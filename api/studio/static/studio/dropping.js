// A picture that is dropped or pasted on a page: what its file says of how it was made goes into the form at /.
import { byId, find, on } from "./dom.js";
import { sendPicture } from "./requests.js";
import { text } from "./texts.js";

const WAITING = "darkroom:form"; // the form on its way from another page

/** Into the input that the page has for them; else what the first says of itself goes into the form. */
function take(files) {
  const input = find("[data-drop-here]"), transfer = new DataTransfer();
  if (!files.length) return;
  if (!input) return load(files[0]);
  for (const file of input.multiple ? files : [files[0]]) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

async function load(file) {
  const answer = await sendPicture("/studio/read-picture", file), said = await answer?.text();
  if (!answer) return;
  if (byId("prompt-form")) return put(said);
  sessionStorage.setItem(WAITING, said);
  location.assign("/");
}

function put(html) {
  htmx.swap("#prompt-form", html, { swapStyle: "outerHTML" });
  byId("prompt-form").scrollIntoView({ block: "nearest" });
}

const waiting = sessionStorage.getItem(WAITING);
if (waiting && location.pathname === "/") {
  sessionStorage.removeItem(WAITING);
  put(waiting);
}

const mark = (isOver) => document.body.classList.toggle("dropping", isOver);
const onFiles = (name, act) => on(name, (event) => { if (event.dataTransfer?.types.includes("Files")) act(event); });
document.body.dataset.drop = text("drop");
onFiles("dragenter", () => mark(true));
onFiles("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
onFiles("dragover", (event) => event.preventDefault());
onFiles("drop", (event) => {
  event.preventDefault();
  mark(false);
  take([...event.dataTransfer.files]);
});
on("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])].filter((one) => one.type.startsWith("image/"));
  if (files.length) { event.preventDefault(); take(files); }
});
on("change", ({ target }) => {
  if (target.id !== "picture-file" || !target.files.length) return;
  load(target.files[0]);
  target.value = "";
});
