"""The page that makes a grid of variants."""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.images.grids.estimate import estimate_grid
from api.images.grids.spec import GridSpec
from api.jobs.admin.tools import seconds_text
from api.jobs.api.submission import submit
from api.jobs.models import Job
from api.jobs.states import Status
from api.studio.access import for_people, is_part
from api.studio.forms import form_of, read_form
from api.studio.job_views import DISMISSED, to_job
from api.studio.jobs import FORM_KINDS, cards_to_show, job_context
from api.studio.sentences import in_language
from api.studio.variants.form import NOTHING_VARIED, VariantsForm, read_variants, variants_of_grid, variants_of_request
from api.studio.views import DRAFT, find_image, parse_id

MOST_EARLIER = 12


@require_http_methods(["GET", "HEAD", "POST"])
@for_people(READ)
def variants(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The form; a POST brings what the prompt box has, finished or not."""
    if request.method == "POST":
        form, _serializer = read_form(request.POST, principal)
        request.session[DRAFT] = form.request()
        if is_part(request):
            return HttpResponse(headers={"HX-Redirect": reverse("studio-variants")})
        return HttpResponseRedirect(reverse("studio-variants"))
    return render_page(request, principal, first_form(request, principal))


def first_form(request: HttpRequest, principal: Principal) -> VariantsForm:
    """Filled in with what made a picture (`again`), with what a job was asked (`job`), or with what the prompt box had."""
    if image := find_image(principal, request.GET.get("again", "")):
        prompt_form = form_of(image, keep_seed=True)
        return variants_of_request(numbered(prompt_form.request()), f"?again={image.pk}")
    job_id = parse_id(request.GET.get("job", ""))
    kinds = (*FORM_KINDS, GridSpec.kind)
    job = visible_to(principal, Job.objects.filter(pk=job_id, kind__in=kinds)).first() if job_id else None
    if job is not None:
        params: Any = job.params
        return variants_of_grid(params) if job.kind == GridSpec.kind else variants_of_request(params, f"?job={job.pk}")
    draft = request.session.get(DRAFT)
    return variants_of_request(numbered(draft), "?draft") if draft else variants_of_request({})


def numbered(request: dict[str, Any]) -> dict[str, Any]:
    """The prompt box has texts; a seed is counted from."""
    seed = str(request.get("seed") or "")
    return {**request, **({"seed": int(seed)} if seed.isdecimal() else {})}


def render_page(request: HttpRequest, principal: Principal, form: VariantsForm, status: int = 200) -> HttpResponse:
    cards, more = cards_to_show(principal, request.session.get(DISMISSED, []), (GridSpec.kind,))
    mine = Job.objects.filter(owner_key=principal.owner_key, kind=GridSpec.kind, status=Status.SUCCEEDED).order_by("-pk")
    earlier = list(mine[: MOST_EARLIER + 1])
    if earlier and not cards:
        cards = [job_context(earlier.pop(0))]
    context = {
        "form": form,
        "base": json.dumps(form.base),
        "cards": cards,
        "more_jobs": more,
        "earlier": [picture for job in earlier[:MOST_EARLIER] if (picture := picture_of(job))],
        "may_submit": principal.may(SUBMIT),
    }
    return render(request, "studio/variants/index.html", context, status=status)


def picture_of(job: Job) -> dict[str, object] | None:
    result: Any = job.result or {}
    return {"job": job, "image": result["images"][0]["id"]} if result.get("images") else None


@require_POST
@for_people(READ)
def estimate(request: HttpRequest, principal: Principal) -> HttpResponse:
    """What it would come to, or what is wrong, while it is typed."""
    form, serializer = read_variants(request.POST, principal)
    found: dict[str, Any] = {}
    hint = form.errors.pop("form") if form.errors.get("form") == NOTHING_VARIED else ""
    if serializer is not None:
        try:
            submission = serializer.resolve()
        except DarkroomError as problem:
            form.errors["form"] = in_language(problem.detail)
        else:
            assert isinstance(submission.spec, GridSpec)
            found = estimate_grid(submission.spec, submission.warnings)
            found["time"] = seconds_text(found["seconds"]) if found["seconds"] is not None else ""
    return render(request, "studio/variants/estimate.html", {"form": form, "estimate": found, "hint": hint, "oob": True})


@require_POST
@for_people(SUBMIT)
def start(request: HttpRequest, principal: Principal) -> HttpResponse:
    form, serializer = read_variants(request.POST, principal)
    job = None
    if serializer is not None:
        try:
            job = submit(serializer.resolve(), principal=principal, source="studio")
        except (DarkroomError, DiskFull) as problem:
            form.errors["form"] = str(getattr(problem, "detail", problem))
    if not is_part(request):
        return to_job(job) if job else render_page(request, principal, form, 422)
    context = {"form": form, **(job_context(job, is_streamed=True) if job else {})}
    response = render(request, "studio/generated.html", context)
    if job is None:
        response["HX-Reswap"] = "none"  # only the errors, which find their own places
    return response
