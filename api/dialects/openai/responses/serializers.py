"""A chat's request that goes on from an earlier response."""

from collections.abc import Callable
from typing import Any

from api.access.scopes import Principal
from api.chat.branching import link_behind, path_to
from api.chat.models import Conversation, Message
from api.chat.serializers import ChatSerializer
from api.chat.services import active_messages
from api.chat.spec import ChatSpec, TurnParams
from api.dialects.models import StoredResponse
from api.dialects.openai.responses.lookup import find_response
from api.errors import DarkroomError
from api.jobs.models import Job
from api.jobs.states import ACTIVE

PREVIOUS = "previous_response_id"


class ContinuedChatSerializer(ChatSerializer):
    """`context`: principal; `instructions`, '' for none; `previous`, the answer that it goes on from, or None."""

    def find_history(self, data: dict[str, Any]) -> tuple[Conversation | None, list[TurnParams], int]:
        text, answer = self.context["instructions"], self.context["previous"]
        leading: list[TurnParams] = [{"role": "system", "parts": [{"type": "text", "text": text}]}] if text else []
        if answer is not None:
            return None, [*leading, *turns_to(answer), *data["messages"]], 0
        named, turns, length = super().find_history(data)
        if named is not None and (first := active_messages(named).first()) and has_instructions(first):
            turns = turns[1:]
        return named, [*leading, *turns], length

    def link(self, spec: ChatSpec) -> Callable[[Job], None]:
        answer = self.context["previous"]
        if answer is None:
            return super().link(spec)
        return link_behind(answer, spec, new=len(self.validated_data["messages"]))


def turns_to(answer: Message) -> list[TurnParams]:
    """Without the instructions of the request that began the conversation: only its own answer was given by them."""
    messages = list(path_to(answer))
    if messages and has_instructions(messages[0]):
        messages = messages[1:]
    return [{"role": message.role, "parts": message.parts} for message in messages]


def has_instructions(first: Message) -> bool:
    """Whether a conversation's first message is a response's `instructions`."""
    if first.role != Message.Role.SYSTEM or first.position != 0:
        return False
    asked = StoredResponse.objects.filter(job=first.job_id).values_list("asked", flat=True).first()
    return bool(asked and asked.get("instructions"))


def find_previous(principal: Principal, response_id: str) -> Message:
    """The answer of an earlier response. DarkroomError 404, and 409 while it is written."""
    job = find_response(principal, response_id, field=PREVIOUS).job
    if job.status in ACTIVE:
        detail = f"The response '{response_id}' is not finished yet."
        raise DarkroomError("response_in_progress", 409, detail, field=PREVIOUS, headers={"Retry-After": "1"})
    answer = Message.objects.filter(job=job, choice=0).exclude(backend="").select_related("conversation").first()
    if answer is None:
        raise DarkroomError("no_answer", 400, f"The response '{response_id}' has no answer to go on from.", field=PREVIOUS)
    return answer
