"""The front door: a prompt becomes a picture, and the latest pictures are below."""

import uuid

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.images.models import GeneratedImage
from api.jobs.api.submission import submit
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.start_failures import start_failure
from api.studio.access import for_people, is_part
from api.studio.forms import PromptForm, form_of, read_form
from api.studio.jobs import job_context
from api.system.selectors import readiness

PAGE = 24


@require_safe
@for_people(READ)
def index(request: HttpRequest, principal: Principal) -> HttpResponse:
    again = request.GET.get("again")
    image = find_image(principal, again) if again else None
    form = form_of(image, keep_seed="new" not in request.GET) if image else PromptForm()
    return render_index(request, principal, form)


def render_index(request: HttpRequest, principal: Principal, form: PromptForm, status: int = 200) -> HttpResponse:
    context = {"form": form, **images_context(principal, None), **server_state_context()}
    return render(request, "studio/index.html", context, status=status)


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
    form, serializer = read_form(request.POST)
    job = None
    if serializer is not None:
        try:
            job = submit(serializer.resolve(), principal=principal, source="studio")
        except DarkroomError as problem:
            form.errors["form"] = problem.detail
        except DiskFull as error:
            form.errors["form"] = str(getattr(error, "detail", error))
    if not is_part(request):
        return to_job(job) if job else render_index(request, principal, form, 422)
    response = render(request, "studio/generated.html", {"form": form, **(job_context(job) if job else {})})
    if job is None:
        response["HX-Reswap"] = "none"  # only the errors, which find their own places
    return response


@require_safe
@for_people(READ)
def job_page(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """For browsers without scripts, and to come back to."""
    job = get_object_or_404(visible_to(principal, Job.objects.all()), pk=id)
    return render(request, "studio/job_page.html", job_context(job))


@require_POST
@for_people(SUBMIT)
def cancel(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    job = cancel_job(job=get_object_or_404(visible_to(principal, Job.objects.all()), pk=id))
    if is_part(request):
        return render(request, "studio/job_state.html", job_context(job))
    return to_job(job)


def to_job(job: Job) -> HttpResponse:
    return HttpResponseRedirect(reverse("studio-job", args=[job.pk]))


# ---------------------------------------------------------------- pictures


@require_safe
@for_people(READ)
def more_images(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The next pictures, older than `before`; a whole page of them for browsers without scripts."""
    context = images_context(principal, parse_id(request.GET.get("before", "")))
    return render(request, "studio/tiles.html" if is_part(request) else "studio/images.html", context)


def images_context(principal: Principal, before: uuid.UUID | None) -> dict[str, object]:
    images = visible_to(principal, GeneratedImage.objects.made_here().order_by("-pk").only("pk", "prompt", "width", "height"))
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
