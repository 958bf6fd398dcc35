"""Going on from an answer that is named, wherever in its conversation it stands: behind its end, or as another branch."""

from collections.abc import Callable

from django.db.models import Q, QuerySet

from api.chat.models import Conversation, Message
from api.chat.services import active_messages, add_question
from api.chat.spec import ChatSpec
from api.errors import DarkroomError
from api.files.models import StoredFile
from api.files.services import attach_inputs
from api.jobs.models import Job


def path_to(answer: Message) -> QuerySet[Message]:
    """What was said up to `answer`, itself included, with the first answer to each question. Questions without one are left out."""
    is_on_path = Q(active=True, position__lte=answer.position) if answer.active else Q(pk__in=ancestors_of(answer))
    path = answer.conversation.messages.filter(is_on_path, choice=0)
    return path.filter(job__in=path.exclude(backend="").values("job"))


def ancestors_of(answer: Message) -> list[int]:
    """With itself."""
    parents = dict(answer.conversation.messages.values_list("pk", "parent"))
    found: list[int] = []
    place: int | None = answer.pk
    while place is not None:
        found.append(place)
        place = parents.get(place)
    return found


def link_behind(answer: Message, spec: ChatSpec, *, new: int) -> Callable[[Job], None]:
    """What ties a job to the conversation of `answer`, in the transaction that submits it. Its last `new` turns follow `answer`; what
    followed that before stays, as another branch, and may still be waiting for its answer.
    """

    def link(job: Job) -> None:
        attach_inputs(job, StoredFile.objects.filter(pk__in=spec.input_ids))
        conversation = Conversation.objects.select_for_update().filter(pk=answer.conversation_id).first()
        here = Message.objects.filter(pk=answer.pk).first()
        if conversation is None or here is None:
            raise DarkroomError("conversation_gone", 410, "The conversation was deleted.")
        if active_messages(conversation).filter(choice=0).last() != here:
            activate_only(conversation, path_to(here))
        add_question(conversation, job, spec.messages[-new:], here.position + 1, here)

    return link


def activate_only(conversation: Conversation, path: QuerySet[Message]) -> None:
    """With the other answers to the same questions."""
    jobs = set(path.values_list("job", flat=True))
    active_messages(conversation).exclude(job__in=jobs).update(active=False)
    conversation.messages.filter(job__in=jobs, active=False).update(active=True)
