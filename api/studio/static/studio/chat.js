// Chats: drafts that stay, pictures of a message, and the list of conversations. The answers under way are in answers.js.
import { followAnswers, scrollToEnd } from "./answers.js";
import { deleteLater, isLeaving } from "./deletions.js";
import { all, byId, find, isCommand, on, onClick } from "./dom.js";
import { complain } from "./notices.js";
import { getPart, sendPicture } from "./requests.js";
import { text } from "./texts.js";

const MOST_PICTURES = 20, LONGEST_PROMPT = 2000;
const { upload, delete: removal } = byId("chat").dataset, composer = byId("composer"), box = byId("prompt");
const current = () => byId("chat-conversation")?.value ?? "";
const pictures = () => all("#attached input").map((input) => input.value);
let goesToEnd = false; // once the question that was sent is in the page

// What was typed stays

const key = (area) => `darkroom:chat:${area.dataset.draft}`;

const keep = (area) => sessionStorage.setItem(key(area), JSON.stringify({ typed: area.value, shown: pictures() }));

function restore(area) {
  const { typed = area.defaultValue, shown } = JSON.parse(sessionStorage.getItem(key(area)) ?? "{}");
  if (area === box) shown?.forEach(attach);
  else if (typed !== area.defaultValue) area.closest("details").open = true;
  area.value = area === box ? area.value || typed : typed;
}

on("input", ({ target }) => { if (target.dataset.draft) keep(target); });
on("submit", ({ target }) => { for (const area of all("[data-draft]", target)) area.sent = area.value; });

/** The question is on the server. What was typed while it was on its way is the next one. */
on("darkroom:asked", ({ target, detail: { conversation } }) => {
  const form = target.closest("form"), area = form?.querySelector("[data-draft]");
  if (area) sessionStorage.removeItem(key(area));
  byId("chat-conversation").value = box.dataset.draft = conversation;
  byId("chat-system")?.remove();
  goesToEnd = true;
  if (form !== composer) return;
  if (box.value === box.sent) box.value = "";
  byId("attached").replaceChildren();
  keep(box);
  box.focus();
}, { capture: true }); // before the list is asked for, which marks this conversation
on("darkroom:gone", () => {
  byId("chat-conversation").value = "";
  box.dataset.draft = "new";
  keep(box);
});

// Pictures

function attach(id) {
  if (pictures().includes(id)) return;
  if (pictures().length >= MOST_PICTURES) return complain(text("tooMany"));
  const item = byId("attached-picture").content.firstElementChild.cloneNode(true);
  find("img", item).src = `/api/images/${id}/thumbnail/`;
  find("input", item).value = id;
  byId("attached").append(item);
}

function detach(item) {
  item.remove();
  keep(box);
}

async function send(files) {
  for (const file of files) {
    const answer = await sendPicture(upload, file, { isNamed: true });
    if (answer) attach((await answer.json()).id);
  }
  keep(box);
}

const markPicked = () => { for (const one of all("[data-pick]")) one.ariaPressed = pictures().includes(one.dataset.pick); };

on("change", ({ target }) => {
  if (target.id !== "chat-files") return;
  send([...target.files]);
  target.value = "";
});
onClick("[data-detach]", (button) => detach(button.closest("li")));
onClick("[data-pick]", ({ dataset: { pick } }) => {
  const input = find(`#attached [value="${pick}"]`);
  input ? detach(input.closest("li")) : attach(pick);
  markPicked();
  keep(box);
});

// Enter sends, but on a phone; and a part of an answer becomes a prompt

const isTouch = matchMedia("(pointer: coarse)");

on("keydown", (event) => {
  const isSent = event.key === "Enter" && !event.isComposing && event.target.matches("#prompt, .edit textarea");
  if (!isSent || event.shiftKey || (isTouch.matches && !isCommand(event))) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
on("mousedown", (event) => { if (event.target.closest("[data-make]")) event.preventDefault(); }); // which would end the selection
onClick("[data-make]", (link, event) => { // where nothing is selected the link says which answer
  const selection = getSelection(), words = String(selection).trim();
  if (!words || !link.closest(".turn").contains(selection.anchorNode)) return;
  event.preventDefault();
  sessionStorage.setItem("darkroom:prompt", words.slice(0, LONGEST_PROMPT)); // make.js takes it up
  location.assign("/");
});

// The list

function showRemoved(id, isRemoved) {
  find(`[data-conversation="${id}"]`)?.toggleAttribute("hidden", isRemoved);
  if (id !== current()) return;
  for (const part of [byId("thread"), composer]) part?.toggleAttribute("hidden", isRemoved);
  byId("chat-deleted").hidden = !isRemoved;
}

onClick("[data-remove]", ({ dataset: { remove: id } }, event) => {
  event.preventDefault();
  if (isLeaving(id)) return;
  if (id === current()) find("[data-stop]")?.click(); // it has stopped when the conversation goes
  showRemoved(id, true);
  deleteLater(removal, [id], () => showRemoved(id, false));
});

// The thread

function begin() {
  all("[data-draft]").forEach(restore);
  followAnswers(reload);
}

on("htmx:afterSettle", ({ target }) => {
  for (const item of all("[data-conversation]")) item.hidden = isLeaving(item.dataset.conversation);
  markPicked();
  if (target.id !== "thread") return;
  begin();
  if (goesToEnd) scrollToEnd();
  goesToEnd = false;
});

/** As the server has it now. Throws where the server is away. */
async function reload() {
  htmx.swap("#thread", await getPart(byId("thread").dataset.address), { swapStyle: "outerHTML" });
  begin();
}

begin();
if (find(".turn")) scrollToEnd();
