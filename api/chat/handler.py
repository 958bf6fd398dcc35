"""The job kind "chat": jobs run in a shared session, stream token events, and are recorded in a conversation. No torch."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from api.chat.models import Conversation, Message
from api.chat.server_tools.turns import Progress, keep_results, read_progress
from api.chat.server_tools.visible import BETWEEN, join_texts
from api.chat.services import link_messages, record_answer
from api.chat.spec import ChatSpec, PartParams, TurnParams, WritingSpec, answered_call, calls_of, images_of
from api.files.inputs import HERE
from api.jobs.kinds import JobKind, Session
from api.jobs.models import Job
from api.json_types import JsonObject

NO_TURNS = Progress()
ANSWER_FIELDS = ("backend", "prompt_tokens", "first_token_seconds", "seconds")


W = TypeVar("W", bound=WritingSpec)


class WritingKind(JobKind[W]):
    """Those of one model are written in one session, whatever their kind."""

    def without_models(self) -> tuple[str, list[str]]:
        return "backend", ["remote"]

    def open_session(self, spec: W) -> Session:
        from api.chat.session import ChatSession, make_backend

        slots = settings.CHAT_SLOTS if spec.backend != "remote" else settings.CHAT_REMOTE_SLOTS
        return ChatSession(make_backend(spec.backend, spec.loaded_id), slots)


class ChatKind(WritingKind[ChatSpec]):
    name = ChatSpec.kind
    title = _("Chat")
    spec_class = ChatSpec

    def has_written(self, owner_key: str, text: str) -> bool:
        """Answers have a reason why they ended; what clients sent as one has none. Some clients leave out the space around it."""
        answers = Message.objects.filter(role=Message.Role.ASSISTANT, conversation__owner_key=owner_key).exclude(
            finish_reason=""
        )
        similar = answers.filter(text__contains=text.strip()).values_list("text", flat=True)
        if any(answer.strip() == text.strip() for answer in similar.iterator()):
            return True
        begun = answers.filter(finish_reason=BETWEEN).exclude(text="").order_by("job", "position").values_list("job", "text")
        jobs = [job for job, beginning in begun.iterator() if text.strip().startswith(beginning.strip())]
        return any(whole_text(job) == text.strip() for job in jobs)

    def record(self, job: Job, output: Any) -> JsonObject:
        """Store the answers in their conversation. Returns the job's result: {conversation, backend, model, choices, usage}."""
        fields = {name: output[name] for name in ANSWER_FIELDS}
        spec = self.read_spec(job)
        conversation, progress = record_turns(job, spec, output["choices"], fields)
        return {
            "conversation": str(conversation.pk) if conversation else None,
            "backend": output["backend"],
            "model": output["model"],
            "choices": [whole_choice(choice, progress) for choice in output["choices"]],
            "usage": usage_of(output, progress),
        }

    def render_params(self, spec: ChatSpec) -> JsonObject:
        """The body of an equal chat completion request, images by id. Without the ONNX variant, which the server selects again."""
        params = {name: value for name, value in spec.to_json().items() if name != "variant"}
        return {**params, "messages": [as_message(turn) for turn in spec.messages]}

    def link_inputs(self, spec: ChatSpec) -> Callable[[Job], None]:
        """A retry starts a new conversation with the same messages."""
        return link_messages(spec, new=len(spec.messages), conversation=None, length=0)


def usage_of(output: Mapping[str, Any], progress: Progress = NO_TURNS) -> JsonObject:
    """Of all turns together; `cached_tokens` is of the last one: others' aren't kept."""
    completion = sum(one["completion_tokens"] for one in [*output["choices"], *map(vars, progress.turns)])
    completion += output["dropped_tokens"]
    prompt = output["prompt_tokens"] + sum(turn.prompt_tokens for turn in progress.turns)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": output["cached_tokens"]},
    }


def whole_text(job_id: uuid.UUID) -> str:
    """What a client saw of an answer in several turns."""
    written = Message.objects.filter(job=job_id, role=Message.Role.ASSISTANT, choice=0).order_by("position")
    return join_texts(*written.values_list("text", flat=True)).strip()


def record_turns(
    job: Job, spec: ChatSpec, choices: Sequence[dict[str, Any]], fields: dict[str, Any]
) -> tuple[Conversation | None, Progress]:
    """The answer behind the turns in which the server's tools were called, and those."""
    if not spec.server_tools:
        return record_answer(job, spec.messages, choices, **fields), Progress()
    given = len(images_of(spec.messages))
    progress = read_progress(job, given)
    if progress.turns:
        keep_results(job, given)
    return record_answer(job, [*spec.messages, *progress.said], choices, **fields), progress


def whole_choice(choice: dict[str, Any], progress: Progress) -> JsonObject:
    """With what was written in earlier turns, and the calls of the server's tools."""
    if not progress.turns:
        return choice
    calls = [result.as_json(number) for number, result in enumerate(progress.results)]
    return {**choice, "text": join_texts(progress.text, choice["text"]), "server_tool_calls": calls}


def as_message(turn: TurnParams) -> JsonObject:
    """A turn as an OpenAI message."""
    content = [as_part(part) for part in turn["parts"] if part["type"] in ("text", "image")]
    is_text = len(content) == 1 and content[0]["type"] == "text"
    message: JsonObject = {"role": turn["role"], "content": content[0]["text"] if is_text else content or None}
    if calls := calls_of(turn):
        message["tool_calls"] = [call_json(call) for call in calls]
    if answered := answered_call(turn):
        message["tool_call_id"] = answered["id"]
    return message


def call_json(call: Mapping[str, Any]) -> JsonObject:
    """A call as OpenAI writes it. `call` has id, name and arguments."""
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}


def as_part(part: PartParams) -> JsonObject:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    return {"type": "image_url", "image_url": {"url": f"{HERE}{part['image']}", "detail": part["detail"]}}
