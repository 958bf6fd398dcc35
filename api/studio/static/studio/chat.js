// Chats: drafts that stay, pictures of a message, and the list of conversations. The answers under way are in answers.js.
import { followAnswers } from "./answers.js";
import { deleteLater, isLeaving } from "./deletions.js";
import { notify } from "./notices.js";
import { getPart, post } from "./requests.js";
import { text } from "./texts.js";

const MOST_PICTURES = 20, LONGEST_PROMPT = 2000;
const chat = document.getElementById("chat"), composer = document.getElementById("composer");
const box = () => document.getElementById("prompt"), attached = () => document.getElementById("attached");
const current = () => document.getElementById("chat-conversation")?.value ?? "";
let goesToEnd = false; // once the question that was sent is in the page
const pictures = () => [...attached().querySelectorAll("input")].map((input) => input.value);

// ---------------------------------------------------------------- what was typed stays

const key = (area) => `darkroom:chat:${area.dataset.draft}`;

function keep(area) {
  const draft = { text: area.value, pictures: area === box() ? pictures() : [] };
  if (draft.text || draft.pictures.length) sessionStorage.setItem(key(area), JSON.stringify(draft));
  else sessionStorage.removeItem(key(area));
}

function restore(area) {
  const draft = JSON.parse(sessionStorage.getItem(key(area)) ?? "null");
  if (!draft || (area !== box() && draft.text === area.defaultValue)) return;
  area.value ||= draft.text;
  if (area === box()) draft.pictures.forEach(attach);
  else { area.value = draft.text; area.closest("details").open = true; }
}

const restoreAll = (part) => part.querySelectorAll("[data-draft]").forEach(restore);

document.addEventListener("input", (event) => { if (event.target.dataset.draft) keep(event.target); });

document.addEventListener("submit", (event) => {
  const area = event.target.querySelector("[data-draft]");
  if (area) area.sent = area.value;
});

/** The question is on the server. What was typed while it was on its way is the next one. */
document.body.addEventListener("darkroom:asked", (event) => {
  const form = event.target.closest("form"), area = form?.querySelector("[data-draft]");
  if (area) sessionStorage.removeItem(key(area));
  if (form === composer) {
    if (area.value === area.sent) area.value = "";
    attached().replaceChildren();
  }
  const { conversation } = event.detail;
  document.getElementById("chat-conversation").value = box().dataset.draft = conversation;
  document.getElementById("chat-system")?.remove();
  if (form === composer) { keep(box()); box().focus(); }
  goesToEnd = true;
});
document.body.addEventListener("darkroom:gone", () => {
  document.getElementById("chat-conversation").value = "";
  box().dataset.draft = "new";
  keep(box());
});

// ---------------------------------------------------------------- pictures

function attach(id) {
  if (pictures().includes(id)) return;
  if (pictures().length >= MOST_PICTURES) return notify(text("tooMany"), { isError: true });
  const item = document.getElementById("attached-picture").content.firstElementChild.cloneNode(true);
  item.querySelector("img").src = `/api/images/${id}/thumbnail/`;
  item.querySelector("input").value = id;
  attached().append(item);
}

const detach = (id) => attached().querySelector(`[value="${CSS.escape(id)}"]`)?.closest("li").remove();

const refuse = (file, reason) => notify([file.name, reason].join(": "), { isError: true, seconds: 10 });

async function send(files) {
  const close = notify(text("readingFiles"), { seconds: 0 });
  for (const file of files) {
    const values = new FormData();
    values.set("picture", file);
    try {
      const answer = await post(chat.dataset.upload, values);
      if (answer.ok) attach((await answer.json()).id);
      else refuse(file, answer.status === 422 ? await answer.text() : text(answer.status === 413 ? "tooLarge" : "failed"));
    } catch {
      refuse(file, text("lost"));
    }
  }
  close();
  keep(box());
}

document.addEventListener("darkroom:files", (event) => {
  if (!composer) return;
  event.preventDefault();
  send(event.detail);
});

document.addEventListener("change", (event) => {
  if (event.target.id !== "chat-files") return;
  const files = [...event.target.files];
  event.target.value = "";
  send(files);
});

// ---------------------------------------------------------------- keys and clicks

const isTouch = matchMedia("(pointer: coarse)");

document.addEventListener("keydown", (event) => {
  const isArea = event.target.matches("#prompt, .edit textarea");
  if (!isArea || event.key !== "Enter" || event.isComposing) return;
  if (event.shiftKey || (isTouch.matches && !event.ctrlKey && !event.metaKey)) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  const find = (selector) => event.target.closest(selector);
  const pick = find("[data-pick]"), remove = find("[data-remove]"), make = find("[data-make]");
  if (find("[data-detach]")) { find("li").remove(); keep(box()); }
  if (find("#open-picker")) {
    document.getElementById("picker").showModal();
    htmx.trigger("#picker-words", "darkroom:open");
  }
  if (event.target.id === "picker") event.target.close();
  if (pick) {
    pictures().includes(pick.dataset.pick) ? detach(pick.dataset.pick) : attach(pick.dataset.pick);
    markPicked();
    keep(box());
  }
  if (remove) { event.preventDefault(); removeConversation(remove.dataset.remove); }
  if (make) makeSelected(event, make);
});

const markPicked = () => document.querySelectorAll("[data-pick]").forEach((one) => one.setAttribute("aria-pressed", pictures().includes(one.dataset.pick)));

document.addEventListener("mousedown", (event) => { if (event.target.closest("[data-make]")) event.preventDefault(); }); // which would end the selection

/** Where a part of the answer is selected, that part is the prompt (make.js takes it up); else the link says which answer. */
function makeSelected(event, link) {
  const selection = getSelection(), words = String(selection).trim();
  if (!words || !link.closest(".turn").contains(selection.anchorNode)) return;
  event.preventDefault();
  sessionStorage.setItem("darkroom:prompt", words.slice(0, LONGEST_PROMPT));
  location.assign("/");
}

// ---------------------------------------------------------------- the list

function showRemoved(id, isRemoved) {
  document.querySelector(`[data-conversation="${id}"]`)?.toggleAttribute("hidden", isRemoved);
  if (id !== current()) return;
  for (const part of [document.getElementById("thread"), composer]) part.hidden = isRemoved;
  document.getElementById("chat-deleted").hidden = !isRemoved;
}

function removeConversation(id) {
  if (isLeaving(id)) return;
  if (id === current()) document.querySelector("[data-stop]")?.click(); // it has stopped when the conversation goes
  showRemoved(id, true);
  deleteLater(chat.dataset.delete, [id], (ids) => ids.forEach((one) => showRemoved(one, false)));
}

function markList() {
  for (const item of document.querySelectorAll("[data-conversation]")) {
    const link = item.querySelector("a"), id = item.dataset.conversation;
    id === current() ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    if (isLeaving(id)) item.hidden = true;
  }
}

document.addEventListener("htmx:afterSettle", (event) => {
  markList();
  markPicked();
  if (event.target.id !== "thread") return;
  restoreAll(event.target);
  followAnswers(reload);
  if (goesToEnd) scrollTo(0, document.body.scrollHeight);
  goesToEnd = false;
});

/** The thread as the server has it now. Throws where the server is away. */
async function reload() {
  const html = await getPart(document.getElementById("thread").dataset.address);
  htmx.swap("#thread", html, { swapStyle: "outerHTML" });
  restoreAll(document.getElementById("thread"));
  followAnswers(reload);
}

restoreAll(document);
followAnswers(reload);
if (document.querySelector(".turn")) scrollTo(0, document.body.scrollHeight);
