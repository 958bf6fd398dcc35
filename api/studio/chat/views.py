"""The pages of chats: a new one, one that goes on, and what is done to them."""

import json
import uuid

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.chat.models import Conversation, Message
from api.chat.services import activate_branch, delete_conversation, rename_conversation
from api.errors import DarkroomError
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import ACTIVE
from api.studio.access import for_people, is_part
from api.studio.chat.conversations import find_conversations
from api.studio.chat.forms import ChatForm, ask, form_of
from api.studio.chat.pictures import known_pictures
from api.studio.chat.threads import read_thread
from api.studio.job_views import refuse
from api.studio.sentences import in_language

LONGEST_TITLE = 80
MOST_DELETED = 200


def visible(principal: Principal) -> QuerySet[Conversation]:
    return visible_to(principal, Conversation.objects.all())


@require_safe
@for_people(READ)
def new_chat(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`picture`: ids of pictures that the first message shows."""
    return render_page(request, principal, None, ChatForm(pictures=known_pictures(principal, request.GET.getlist("picture"))))


@require_safe
@for_people(READ)
def conversation(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    found = get_object_or_404(visible(principal), pk=id)
    if is_part(request):
        return render(request, "studio/chat/thread.html", thread_context(request, principal, found))
    return render_page(request, principal, found, form_of(found))


def thread_context(request: HttpRequest, principal: Principal, found: Conversation) -> dict[str, object]:
    thread = read_thread(found, whole="all" in request.GET)
    return {"thread": thread, "conversation": found, "may_change": principal.may(SUBMIT)}


def render_page(
    request: HttpRequest, principal: Principal, found: Conversation | None, form: ChatForm, status: int = 200
) -> HttpResponse:
    context = {"form": form, "may_change": principal.may(SUBMIT), **list_context(request, principal)}
    if found is not None:
        context |= {**thread_context(request, principal, found), "current": str(found.pk)}
    return render(request, "studio/chat/index.html", context, status=status)


@require_safe
@for_people(READ)
def conversation_list(request: HttpRequest, principal: Principal) -> HttpResponse:
    if not is_part(request):
        return HttpResponseRedirect(f"{reverse('studio-chat')}?{request.GET.urlencode()}")
    return render(request, "studio/chat/conversations.html", list_context(request, principal))


def list_context(request: HttpRequest, principal: Principal) -> dict[str, object]:
    words, after = request.GET.get("q", "").strip(), request.GET.get("after", "")
    return {"page": find_conversations(principal, words, after), "words": words, "current": request.GET.get("conversation", "")}


# ---------------------------------------------------------------- asking


@require_POST
@for_people(SUBMIT)
def send(request: HttpRequest, principal: Principal) -> HttpResponse:
    """A question: the first of a conversation, the next one, or (`turn`) one in the place of another, which begins a branch."""
    named = request.POST.get("conversation", "")
    found = visible(principal).filter(pk=named).first() if is_id(named) else None
    if named and found is None:
        return gone(request, principal)
    form, job = ask(request, principal, found)
    if job is None:
        return refused(request, principal, found, form)
    found = Message.objects.filter(job=job).select_related("conversation")[0].conversation
    address = reverse("studio-chat-conversation", args=[found.pk])
    if not is_part(request):
        return HttpResponseRedirect(f"{address}#end")
    response = render(request, "studio/chat/asked.html", {"form": form, **thread_context(request, principal, found)})
    response["HX-Push-Url"] = address
    response["HX-Trigger"] = json.dumps({"darkroom:asked": {"conversation": str(found.pk)}})
    return response


def is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def gone(request: HttpRequest, principal: Principal) -> HttpResponse:
    form = ChatForm({"text": request.POST.get("text", "")}, request.POST.getlist("picture"))
    form.errors["form"] = _("This conversation was deleted. What you wrote begins a new one when you send it again.")
    response = refused(request, principal, None, form)
    response["HX-Trigger"] = json.dumps({"darkroom:gone": {}})
    return response


def refused(request: HttpRequest, principal: Principal, found: Conversation | None, form: ChatForm) -> HttpResponse:
    """What was typed stays. The errors find their own places."""
    if not is_part(request):
        return render_page(request, principal, found, form, 422)
    if "turn" in request.POST:  # its form has no places for them
        return refuse(" ".join(form.errors.values()))
    response = render(request, "studio/chat/errors.html", {"form": form})
    response["HX-Reswap"] = "none"
    return response


@require_POST
@for_people(SUBMIT)
def branch(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """Go on with the branch that begins with `message`."""
    found = get_object_or_404(visible(principal), pk=id)
    number = request.POST.get("message", "")
    message = get_object_or_404(found.messages, pk=number if number.isdecimal() and len(number) < 19 else 0)
    try:
        activate_branch(message)
    except DarkroomError as problem:
        return refuse(in_language(problem.detail))
    if not is_part(request):
        return HttpResponseRedirect(reverse("studio-chat-conversation", args=[id]))
    return render(request, "studio/chat/thread.html", thread_context(request, principal, found))


# ---------------------------------------------------------------- rename and delete


@require_POST
@for_people(SUBMIT)
def rename(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    found = get_object_or_404(visible(principal), pk=id)
    title = " ".join(request.POST.get("title", "").replace("\0", "").split())
    if not title or len(title) > LONGEST_TITLE:
        return refuse(_("A title has 1 to %(most)d letters.") % {"most": LONGEST_TITLE})
    rename_conversation(conversation=found, title=title)
    if not is_part(request):
        return HttpResponseRedirect(reverse("studio-chat-conversation", args=[id]))
    found.title = title
    response = render(request, "studio/chat/heading.html", {"conversation": found, "may_change": True})
    response["HX-Trigger"] = json.dumps({"darkroom:renamed": {}})
    return response


@require_POST
@for_people(SUBMIT)
def delete(request: HttpRequest, principal: Principal) -> HttpResponse:
    """With the answers that are under way, which are cancelled first: those that can't stop at once are told."""
    ids = [uuid.UUID(text) for text in request.POST.get("ids", "").split(",") if is_id(text)][:MOST_DELETED]
    refusals = []
    for found in visible(principal).filter(pk__in=ids):
        for job in Job.objects.filter(messages__conversation=found, status__in=ACTIVE).distinct():
            cancel_job(job=job)
        try:
            delete_conversation(conversation=found)
        except DarkroomError as problem:
            refusals.append(in_language(problem.detail))
    if is_part(request):
        return refuse(refusals[0]) if refusals else HttpResponse()
    for text in refusals[:1]:
        messages.error(request, text)
    return HttpResponseRedirect(reverse("studio-chat"))
