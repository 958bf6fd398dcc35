"""The choice between two pictures, of one prompt first, and the training of a scorer on it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.access.scopes import READ, STAFF, SUBMIT
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.jobs.api.submission import submit
from api.problems import field_errors
from api.scoring.models import CustomScorer
from api.scoring.spec import LONGEST_SCORER_NAME, TrainScorerSpec
from api.scoring.taste.choosing import keep_choice, last_choice, pair_to_show, take_back, words_of_both
from api.scoring.taste.serializers import TrainScorerSerializer
from api.scoring.taste.training import find_standing, judgements_that_teach
from api.studio.access import for_people, is_part
from api.studio.compare.learned import learned_context
from api.studio.job_views import DISMISSED, to_job
from api.studio.jobs import cards_to_show, job_context
from api.studio.sentences import in_language
from api.studio.views import parse_id

ON = "images"
FIRST_NAME = "my-taste"


@require_safe
@for_people(READ)
def taste(request: HttpRequest, principal: Principal) -> HttpResponse:
    asked = [request.GET[name] for name in ("a", "b") if name in request.GET]
    return render_page(request, principal, asked)


def render_page(
    request: HttpRequest, principal: Principal, asked: list[str], errors: str = "", status: int = 200
) -> HttpResponse:
    cards, _more = cards_to_show(principal, request.session.get(DISMISSED, []), (TrainScorerSpec.kind,))
    context = {
        **pair_context(principal, asked),
        **learned_context(principal, parse_id(request.GET.get("scorer", ""))),
        "cards": cards,
        "name": request.POST.get("name", "") or usual_name(principal),
        "longest_name": LONGEST_SCORER_NAME,
        "by_others": judgements_that_teach(ON) - judgements_that_teach(ON, [principal.owner_key]) if principal.is_staff else 0,
        "train_error": errors,
    }
    return render(request, "studio/compare/taste.html", context, status=status)


def pair_context(principal: Principal, asked: list[str] | None = None) -> dict[str, object]:
    """The two, and how many choices were made."""
    pair = pair_to_show(principal, ON, asked or []) if principal.may(SUBMIT) else []
    return {
        "pair": pair,
        "same": words_of_both(pair),
        "last": last_choice(principal, ON),
        "standing": find_standing(ON, [principal.owner_key]),
        "may_choose": principal.may(SUBMIT),
        "may_train": principal.is_staff,
    }


@require_POST
@for_people(SUBMIT)
def choose(request: HttpRequest, principal: Principal) -> HttpResponse:
    note = ""
    try:
        keep_choice(principal, ON, request.POST.getlist("shown"), request.POST.get("choice", ""))
    except ValidationError:
        note = _("That choice could not be kept: one of the two is not there any more. Here are two others.")
    return after_choice(request, principal, note)


@require_POST
@for_people(SUBMIT)
def undo(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The last choice is taken back, and its two pictures are shown again."""
    pair = take_back(principal, ON)
    note = _("Taken back: choose again.") if pair else _("There is nothing to take back.")
    return after_choice(request, principal, note, [str(end) for end in pair or ()])


def after_choice(request: HttpRequest, principal: Principal, note: str, asked: list[str] | None = None) -> HttpResponse:
    if is_part(request):
        return render(request, "studio/compare/pair.html", {**pair_context(principal, asked), "note": note})
    if note:
        messages.info(request, note)
    query = "?a={}&b={}".format(*asked) if asked else ""
    return HttpResponseRedirect(f"{reverse('studio-taste')}{query}")


# ---------------------------------------------------------------- training


@require_POST
@for_people(STAFF)
def train(request: HttpRequest, principal: Principal) -> HttpResponse:
    data = {"name": request.POST.get("name", "").strip(), "on": ON}
    if request.POST.get("raters") != "all":
        data["raters"] = [principal.owner_key]  # type: ignore[assignment]
    serializer = TrainScorerSerializer(data=data, context={"principal": principal})
    try:
        serializer.is_valid(raise_exception=True)
        job = submit(serializer.resolve(), principal=principal, source="studio")
    except ValidationError as error:
        return refuse(request, principal, " ".join(in_language(one["detail"]) for one in field_errors(error.detail)))
    except (DarkroomError, DiskFull) as problem:
        return refuse(request, principal, str(problem))
    return render(request, "studio/job.html", job_context(job, is_streamed=True)) if is_part(request) else to_job(job)


def refuse(request: HttpRequest, principal: Principal, text: str) -> HttpResponse:
    if is_part(request):
        return HttpResponse(text, status=422, content_type="text/plain; charset=utf-8")
    return render_page(request, principal, [], text, 422)


def usual_name(principal: Principal) -> str:
    """The one that this person trained last: it gets a new version."""
    mine = CustomScorer.objects.filter(on=ON, owner_key=principal.owner_key)
    return mine.values_list("name", flat=True).first() or FIRST_NAME
