"""The box below a conversation: what it sends is read by the API's own serializer."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from api.access.principals import Principal
from api.chat.backend_selection import chat_models, remote_models
from api.chat.handler import as_message
from api.chat.models import Conversation, Message
from api.chat.serializers import ChatSerializer
from api.chat.spec import BACKENDS, ChatSpec
from api.errors import DarkroomError
from api.files.errors import DiskFull, InvalidImage
from api.files.inputs import HERE
from api.files.services import resolve_image
from api.jobs.api.submission import submit
from api.jobs.models import Job
from api.json_types import Json, JsonObject
from api.problems import field_errors
from api.specs import field_of
from api.studio.chat.threads import find_turn
from api.studio.sentences import in_language
from api.system.selectors import is_available

SETTINGS = ("model", "backend", "temperature", "max_tokens")
PLACES = ("text", "pictures", *SETTINGS, "form")
CACHE_SECONDS = 10


@dataclass(frozen=True)
class ChatModel:
    id: str
    label: str


@dataclass
class ChatForm:
    """`values` as they were typed; `errors` by place."""

    values: Mapping[str, str] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> list[ChatModel]:
        return offered_chat_models()

    @property
    def model(self) -> str:
        """The one that is chosen."""
        return self.values.get("model") or settings.DEFAULT_CHAT_MODEL

    @property
    def backends(self) -> list[str]:
        return [name for name in BACKENDS if name != "remote" or settings.CHAT_REMOTE_URL]

    @property
    def temperature(self) -> Any:
        return field_of(ChatSpec, "temperature").rule

    @property
    def max_tokens(self) -> Any:
        return field_of(ChatSpec, "max_tokens").rule

    @property
    def default_max_tokens(self) -> int:
        return int(settings.CHAT_MAX_TOKENS)

    @property
    def slots(self) -> list[tuple[str, str]]:
        """Every place for an error, with what stands there now."""
        return [(f"chat-{name}", self.errors.get(name, "")) for name in PLACES]

    @property
    def is_extended(self) -> bool:
        return any(self.values.get(name) or self.errors.get(name) for name in (*SETTINGS[1:], "system"))


def offered_chat_models() -> list[ChatModel]:
    """The default one first, then those that are here."""
    found: list[ChatModel] = cache.get_or_set(f"studio.chat_models.{get_language()}", find_chat_models, CACHE_SECONDS)  # type: ignore[assignment]
    return found


def find_chat_models() -> list[ChatModel]:
    here = {entry.id: is_available(entry) for entry in chat_models()}
    entries = sorted(chat_models(), key=lambda entry: (entry.id != settings.DEFAULT_CHAT_MODEL, not here[entry.id]))
    absent = _("is fetched before its first answer")
    local = [ChatModel(entry.id, entry.name if here[entry.id] else f"{entry.name} – {absent}") for entry in entries]
    remote = _("on the remote server")
    return [*local, *(ChatModel(name, f"{name} – {remote}") for name in remote_models())]


def form_of(conversation: Conversation) -> ChatForm:
    """With what was chosen last."""
    params = Job.objects.filter(messages__conversation=conversation).order_by("-pk").values_list("params", flat=True).first()
    kept = {name: str(value) for name in ("temperature", "max_tokens") if (value := (params or {}).get(name)) is not None}
    return ChatForm({"model": conversation.model_id, **kept})


# ---------------------------------------------------------------- asking


def ask(request: HttpRequest, principal: Principal, conversation: Conversation | None) -> tuple[ChatForm, Job | None]:
    """The job, or the form with what is wrong.

    `turn`: the job of a question that is asked anew, as it is typed now or (`again`) as it was.
    """
    names = ("text", "system", *SETTINGS)
    typed = {name: request.POST.get(name, "").replace("\r\n", "\n") for name in names}
    values = {name: value if name == "text" else value.strip() for name, value in typed.items()}
    form = ChatForm(values, [value for value in request.POST.getlist("picture") if value])
    try:
        form.pictures += [str(store(principal, file)) for file in request.FILES.getlist("files")]
        body = read_request(request, form, conversation)
    except InvalidImage as error:
        form.errors["pictures"] = in_language(error.detail)
    except (DarkroomError, DiskFull) as error:
        form.errors["form"] = in_language(getattr(error, "detail", error))
    return form, None if form.errors else submit_form(form, body, principal)


def store(principal: Principal, file: UploadedFile) -> uuid.UUID:
    """Raises InvalidImage and DiskFull."""
    return resolve_image(owner_key=principal.owner_key, value=file).pk


def read_request(request: HttpRequest, form: ChatForm, conversation: Conversation | None) -> JsonObject:
    """As JSON, which the API's serializer reads. DarkroomError 409 where the question is not there any more."""
    body: JsonObject = {name: form.values[name] for name in SETTINGS if form.values[name]}
    earlier: list[JsonObject] = []
    if conversation is None:
        earlier = [{"role": "system", "content": form.values["system"]}] if form.values["system"] else []
    else:
        body["conversation"] = str(conversation.pk)
        if turn := read_turn_id(request):
            messages = find_turn(conversation, turn)
            if not messages:
                raise DarkroomError("stale_branch", 409, _("This conversation goes on elsewhere by now; load the page again."))
            body["replace_from"] = messages[0].position
            turns = [as_message({"role": message.role, "parts": message.parts}) for message in messages]
            if "again" in request.POST:
                return {**body, "messages": turns}
            earlier = turns[: last_question(messages)]
    return {**body, "messages": [*earlier, question_of(form)]}


def read_turn_id(request: HttpRequest) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.POST.get("turn", ""))
    except ValueError:
        return None


def last_question(messages: list[Message]) -> int:
    return max((place for place, message in enumerate(messages) if message.role == Message.Role.USER), default=len(messages))


def question_of(form: ChatForm) -> JsonObject:
    if not form.values["text"].strip():
        form.errors["text"] = _("Write something first.")
    shown: list[Json] = [{"type": "image_url", "image_url": {"url": f"{HERE}{pk}"}} for pk in form.pictures]
    text = {"type": "text", "text": form.values["text"]}
    return {"role": "user", "content": [*shown, text] if shown else form.values["text"]}


def submit_form(form: ChatForm, body: JsonObject, principal: Principal) -> Job | None:
    serializer = ChatSerializer(data=body, context={"principal": principal})
    try:
        if serializer.is_valid():
            return submit(serializer.resolve(), principal=principal, source="studio")
        form.errors = read_errors(serializer.errors)
    except (DarkroomError, DiskFull) as problem:
        form.errors["form"] = in_language(getattr(problem, "detail", problem))
    return None


def read_errors(errors: object) -> dict[str, str]:
    """By the place on the page."""
    texts: dict[str, str] = {}
    for error in field_errors(errors):
        name = error["field"].partition(".")[0]
        place = "pictures" if "image_url" in error["field"] else {"messages": "text"}.get(name, name)
        place = place if place in PLACES else "form"
        texts[place] = " ".join(filter(None, [texts.get(place), in_language(error["detail"])]))
    return texts
