"""The job kind "chat": jobs run in a shared session, stream token events, and are recorded in a conversation. No torch."""

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from api.chat.models import Message
from api.chat.services import link_messages, record_answer
from api.chat.spec import ChatSpec, PartParams, TurnParams, answered_call, calls_of
from api.files.inputs import HERE
from api.jobs.kinds import JobKind, Session
from api.jobs.models import Job
from api.json_types import JsonObject

ANSWER_FIELDS = ("backend", "prompt_tokens", "first_token_seconds", "seconds")


class ChatKind(JobKind[ChatSpec]):
    name = ChatSpec.kind
    title = _("Chat")
    spec_class = ChatSpec

    def without_models(self) -> tuple[str, list[str]]:
        return "backend", ["remote"]

    def has_written(self, owner_key: str, text: str) -> bool:
        """Answers have a reason why they ended; what clients sent as one has none. Some clients leave out the space around it."""
        answers = Message.objects.filter(role=Message.Role.ASSISTANT, conversation__owner_key=owner_key).exclude(
            finish_reason=""
        )
        similar = answers.filter(text__contains=text.strip()).values_list("text", flat=True)
        return any(answer.strip() == text.strip() for answer in similar.iterator())

    def open_session(self, spec: ChatSpec) -> Session:
        from api.chat.session import ChatSession, make_backend

        slots = settings.CHAT_SLOTS if spec.backend != "remote" else settings.CHAT_REMOTE_SLOTS
        return ChatSession(make_backend(spec.backend, spec.loaded_id), slots)

    def record(self, job: Job, output: Any) -> JsonObject:
        """Store the answers in their conversation. Returns the job's result: {conversation, backend, model, choices, usage}."""
        fields = {name: output[name] for name in ANSWER_FIELDS}
        conversation = record_answer(job, self.read_spec(job).messages, output["choices"], **fields)
        completion = sum(choice["completion_tokens"] for choice in output["choices"])
        prompt = output["prompt_tokens"]
        return {
            "conversation": str(conversation.pk) if conversation else None,
            "backend": output["backend"],
            "model": output["model"],
            "choices": output["choices"],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": output["cached_tokens"]},
            },
        }

    def render_params(self, spec: ChatSpec) -> JsonObject:
        """The body of an equal chat completion request, images by id. Without the ONNX variant, which the server selects again."""
        params = {name: value for name, value in spec.to_json().items() if name != "variant"}
        return {**params, "messages": [as_message(turn) for turn in spec.messages]}

    def link_inputs(self, spec: ChatSpec) -> Callable[[Job], None]:
        """A retry starts a new conversation with the same messages."""
        return link_messages(spec, new=len(spec.messages), conversation=None, length=0)


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
