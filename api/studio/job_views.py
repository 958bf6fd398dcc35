"""The cards of jobs: how they stand, and what is done to them."""

import uuid

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, STAFF, SUBMIT
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.jobs.api.submission import submit
from api.jobs.lifecycle import cancel_job, retry_job
from api.jobs.models import Job
from api.jobs.store.preview_watches import extend_watches
from api.problems import field_errors
from api.studio.access import for_people, is_part
from api.studio.job_details import details_context
from api.studio.jobs import job_context
from api.studio.sentences import in_language
from api.studio.stream import where_it_stands
from api.system.serializers import ModelCommandSerializer
from api.system.spec import LoadModelSpec, ModelSpec, UnloadModelSpec

DISMISSED, MOST_DISMISSED = "dismissed_failures", 50
"""In the session."""


def find_job(principal: Principal, id: uuid.UUID) -> Job:
    return get_object_or_404(visible_to(principal, Job.objects.all()), pk=id)


def to_job(job: Job) -> HttpResponse:
    return HttpResponseRedirect(reverse("studio-job", args=[job.pk]))


def answer_form(request: HttpRequest, job: Job | None, form: object) -> HttpResponse:
    """To a form that was sent: its job; or, for a part of a page, the form's errors. A whole page without a job is its view's to render."""
    if job is not None and not is_part(request):
        return to_job(job)
    response = render(request, "studio/generated.html", {"form": form, **(job_context(job, is_streamed=True) if job else {})})
    if job is None:
        response["HX-Reswap"] = "none"  # only the errors, which find their own places
    return response


@require_safe
@for_people(READ)
def job_page(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """All that is known of it; for browsers without scripts, too."""
    return render(request, "studio/job_page.html", page_context(principal, find_job(principal, id)))


def page_context(principal: Principal, job: Job) -> dict[str, object]:
    return {**job_context(job, is_streamed=True), **details_context(principal, job)}


@require_safe
@for_people(READ)
def job_card(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """Of a card without a stream, which asks while its job goes on. Nothing once that was deleted."""
    job = visible_to(principal, Job.objects.filter(pk=id)).first()
    if job is None:
        return HttpResponse()
    preview = "" if job.is_final else where_it_stands(job.pk)[1]
    if not job.is_final:
        extend_watches([job.pk])
    return render(request, "studio/job.html", {**job_context(job, preview), "announce": True})


@require_POST
@for_people(SUBMIT)
def cancel(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    job = cancel_job(job=find_job(principal, id))
    if is_part(request):
        return render(request, "studio/job_state.html", job_context(job))
    return to_job(job)


@require_POST
@for_people(SUBMIT)
def retry(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """The same again, in the place of the one that failed."""
    old = find_job(principal, id)
    try:
        job = retry_job(job=old)
    except (DarkroomError, DiskFull) as problem:
        if is_part(request):
            return render(request, "studio/job.html", {**job_context(old), "retry_error": in_language(problem)})
        return render(request, "studio/job_page.html", {**page_context(principal, old), "retry_error": in_language(problem)})
    return render(request, "studio/job.html", job_context(job, is_streamed=True)) if is_part(request) else to_job(job)


@require_POST
@for_people(READ)
def dismiss(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """A failure that has been read."""
    request.session[DISMISSED] = [str(id), *request.session.get(DISMISSED, [])][:MOST_DISMISSED]
    return HttpResponse() if is_part(request) else HttpResponseRedirect(reverse("studio"))


@require_POST
@for_people(STAFF)
def load_model(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Fetches a model and brings it into memory, as a job."""
    return command(request, principal, LoadModelSpec)


@require_POST
@for_people(STAFF)
def unload_model(request: HttpRequest, principal: Principal) -> HttpResponse:
    return command(request, principal, UnloadModelSpec)


def command(request: HttpRequest, principal: Principal, spec: type[ModelSpec]) -> HttpResponse:
    """In the worker that the form names, in `all`, or in whichever is free first."""
    context = {"spec": spec, "model_id": request.POST.get("model_id", ""), "principal": principal}
    worker = request.POST.get("worker", "")
    serializer = ModelCommandSerializer(data={"worker": worker} if worker else {}, context=context)
    try:
        serializer.is_valid(raise_exception=True)
        job = submit(serializer.resolve(), principal=principal, source="studio")
    except ValidationError as error:
        return refuse(" ".join(in_language(one["detail"]) for one in field_errors(error.detail)))
    except (DarkroomError, DiskFull) as problem:
        return refuse(in_language(problem))
    return render(request, "studio/job.html", job_context(job, is_streamed=True)) if is_part(request) else to_job(job)


def refuse(text: str) -> HttpResponse:
    """A sentence, which the page's script shows."""
    return HttpResponse(text, status=422, content_type="text/plain; charset=utf-8")
