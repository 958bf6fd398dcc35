"""The front door: a prompt becomes a picture, and the latest pictures are below."""

import re
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.chat.models import Conversation, Message
from api.files.decoding import count_pixels
from api.images.models import GeneratedImage
from api.images.png_info.reading import read_png_info
from api.images.prompt_serializers import PngInfoSerializer, PromptSerializer
from api.images.spec import LONGEST_PROMPT
from api.jobs.models import Job
from api.jobs.start_failures import start_failure
from api.problems import field_errors
from api.scoring.spec import LONGEST_BACKEND
from api.studio.access import for_people, is_part
from api.studio.forms import PromptForm, form_of, form_of_request, read_form
from api.studio.job_views import DISMISSED, answer_form
from api.studio.jobs import FORM_KINDS, cards_to_show
from api.studio.sentences import in_language
from api.studio.submitting import submit_or_say
from api.system.selectors import readiness

PAGE = 24
DRAFT = "variants_draft"
"""In the session: the request that went from the prompt box to the page of variants."""
MOST_LOOKED_AT, MOST_PROMPTS = 400, 40
"""Jobs whose prompts are read, and prompts that are shown."""


@require_safe
@for_people(READ)
def index(request: HttpRequest, principal: Principal) -> HttpResponse:
    return render_index(request, principal, first_form(request, principal))


def first_form(request: HttpRequest, principal: Principal) -> PromptForm:
    """Filled in with what made a picture (`again`), with what a job was asked (`job`), to keep what a scorer likes (`best_by`), with
    what went to the page of variants (`draft`), or with what a chat answered (`answer`).
    """
    keep_seed = "new" not in request.GET
    if image := find_image(principal, request.GET.get("again", "")):
        return form_of(image, keep_seed=keep_seed)
    if answer := request.GET.get("answer"):
        return form_of_answer(principal, answer)
    job_id = parse_id(request.GET.get("job", ""))
    job = visible_to(principal, Job.objects.filter(pk=job_id, kind__in=FORM_KINDS)).first() if job_id else None
    if "draft" in request.GET and (draft := request.session.get(DRAFT)):
        return form_of_request(draft, keep_seed=keep_seed)
    if job is None and (scorer := request.GET.get("best_by", "")):
        return PromptForm({"best_of": "4", "rank_by": scorer[:LONGEST_BACKEND]})
    return form_of_request(job.params, keep_seed=keep_seed) if job else PromptForm()


def form_of_answer(principal: Principal, number: str) -> PromptForm:
    conversations = visible_to(principal, Conversation.objects.all())
    answers = Message.objects.filter(
        conversation__in=conversations, pk=int(number) if re.fullmatch(r"[0-9]{1,18}", number) else 0
    )
    words = " ".join((answers.values_list("text", flat=True).first() or "").split())
    cut = [_("The answer was longer than a prompt may be: it is cut.")] if len(words) > LONGEST_PROMPT else []
    return PromptForm({"prompt": words[:LONGEST_PROMPT]}, notes=cut)


def render_index(request: HttpRequest, principal: Principal, form: PromptForm, status: int = 200) -> HttpResponse:
    cards, more_jobs = cards_to_show(principal, request.session.get(DISMISSED, []))
    context = {
        "form": form,
        "cards": cards,
        "more_jobs": more_jobs,
        "may_submit": principal.may(SUBMIT),
        "may_load": principal.is_staff,
        **images_context(principal, None),
        **server_state_context(),
    }
    return render(request, "studio/index.html", context, status=status)


@require_POST
@for_people(READ)
def read_picture(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The form, filled in with what a picture's file says of how it was made; or a sentence why not."""
    serializer = PngInfoSerializer(data={"image": request.FILES.get("picture", "")}, context={"principal": principal})
    if not serializer.is_valid():
        return refuse_picture(
            request, principal, " ".join(in_language(error["detail"]) for error in field_errors(serializer.errors))
        )
    sent = serializer.validated_data["image"]
    info: Any = read_png_info(sent.data, sent.parameters)
    lost = [f"{one['kind']}: {_('“%(name)s” is not here.') % {'name': one['name']}}" for one in info["missing"]]
    notes = [*lost, *map(in_language, info["warnings"])]
    if info["source"] is None and not count_pixels(sent.data):
        return refuse_picture(request, principal, _("This is no picture: drop a PNG, JPEG or WebP file."))
    if info["request"] is None:
        return refuse_picture(request, principal, " ".join(notes))
    form = form_of_request(info["request"], notes=[_("Loaded from the picture."), *notes])
    if is_part(request):
        return render(request, "studio/form.html", {"form": form, "may_load": principal.is_staff})
    return render_index(request, principal, form)


def refuse_picture(request: HttpRequest, principal: Principal, text: str) -> HttpResponse:
    if is_part(request):
        return HttpResponse(text, status=422, content_type="text/plain; charset=utf-8")
    return render_index(request, principal, PromptForm(notes=[text]), 422)


@require_safe
@for_people(READ)
def server_state(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The sentence above the form, which is asked for again while it says that pictures have to wait."""
    return render(request, "studio/server_state.html", server_state_context())


def server_state_context() -> dict[str, object]:
    state = readiness()
    return {"server_state": state, "worker_error": start_failure() if state == "no_worker" else ""}


@require_POST
@for_people(SUBMIT)
def generate(request: HttpRequest, principal: Principal) -> HttpResponse:
    form, serializer = read_form(request.POST, principal)
    job = None
    if serializer is not None:
        job, form.errors["form"] = submit_or_say(serializer, principal)
    if job is None and not is_part(request):
        return render_index(request, principal, form, 422)
    return answer_form(request, job, form)


@require_safe
@for_people(READ)
def history(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The prompts of this person's newest jobs, each once."""
    mine = Job.objects.filter(owner_key=principal.owner_key, kind__in=FORM_KINDS).order_by("-pk")
    prompts: dict[str, uuid.UUID] = {}
    for pk, prompt in mine.values_list("pk", "prompt")[:MOST_LOOKED_AT]:
        prompts.setdefault(prompt, pk)
    words = request.GET.get("words", "").lower().split()
    found = [(prompt, pk) for prompt, pk in prompts.items() if prompt and all(word in prompt.lower() for word in words)]
    return render(request, "studio/history.html", {"prompts": found[:MOST_PROMPTS], "is_new": not prompts})


@require_POST
@for_people(READ)
def tokens(request: HttpRequest, principal: Principal) -> HttpResponse:
    """How many tokens the prompt is, for the model that is chosen; nothing where that can't be told."""
    sent = {name: request.POST.get(name, "").strip() for name in ("prompt", "model_id", "prompt_syntax")}
    serializer = PromptSerializer(data={name: value for name, value in sent.items() if value})
    read = serializer.preview() if serializer.is_valid() else None
    return render(request, "studio/tokens.html", {"read": read})


@require_safe
@for_people(READ)
def loras(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The adapters that fit a model: those that may be typed into the form."""
    form = PromptForm({"model_id": request.GET.get("model_id", "")})
    return render(request, "studio/lora_names.html", {"form": form})


# ---------------------------------------------------------------- pictures


@require_safe
@for_people(READ)
def more_images(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The next pictures, older than `before`; a whole page of them for browsers without scripts."""
    context = images_context(principal, parse_id(request.GET.get("before", "")))
    return render(request, "studio/tiles.html" if is_part(request) else "studio/images.html", context)


def images_context(principal: Principal, before: uuid.UUID | None) -> dict[str, object]:
    images = visible_to(
        principal, GeneratedImage.objects.made_here().order_by("-pk").only("pk", "prompt", "origin", "width", "height")
    )
    rows = list((images.filter(pk__lt=before) if before else images)[: PAGE + 1])
    return {"images": rows[:PAGE], "before": rows[PAGE - 1].pk if len(rows) > PAGE else None}


def find_image(principal: Principal, identifier: str) -> GeneratedImage | None:
    pk = parse_id(identifier)
    images = visible_to(principal, GeneratedImage.objects.made_here())
    return images.filter(pk=pk).first() if pk else None


def parse_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
