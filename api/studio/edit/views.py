"""The page that edits a picture, and what it sends."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.images.models import GeneratedImage
from api.images.spec import Img2ImgSpec
from api.images.uploads import ImageUploadSerializer
from api.jobs.models import Job
from api.problems import field_errors
from api.studio.access import for_people, is_part
from api.studio.edit.forms import EditForm, form_for, form_of_job, read_edit_form
from api.studio.edit.offers import cutters, prompted, upscalers, why_no_controlnet
from api.studio.edit.sources import find_row, find_source, offered_pictures, result_cards
from api.studio.edit.tools import TOOLS, ToolForm
from api.studio.job_views import DISMISSED, answer_form
from api.studio.jobs import EDIT_KINDS, cards_to_show
from api.studio.sentences import in_language
from api.studio.submitting import submit_or_say
from api.studio.views import parse_id, server_state_context


@require_safe
@for_people(READ)
def edit(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`image`: the picture; `job`: a job whose request fills in the form."""
    return render_edit(request, principal, first_form(request, principal))


def first_form(request: HttpRequest, principal: Principal) -> EditForm:
    job_id = parse_id(request.GET.get("job", ""))
    job = visible_to(principal, Job.objects.filter(pk=job_id, kind=Img2ImgSpec.kind)).first() if job_id else None
    if job is not None:
        return form_of_job(job)
    asked = request.GET.get("image", "")
    source = find_source(principal, asked)
    form = form_for(find_row(source), str(source.pk) if source else "")
    if asked and source is None:
        form.errors["image"] = _("This picture is not here, or not any more. Choose another one.")
    return form


def render_edit(
    request: HttpRequest, principal: Principal, form: EditForm, tools: Mapping[str, ToolForm] | None = None, status: int = 200
) -> HttpResponse:
    source = find_source(principal, form.values.get("image", ""))
    cards, more_jobs = cards_to_show(principal, request.session.get(DISMISSED, []), EDIT_KINDS)
    context = {
        "form": form,
        "source": source,
        "source_row": find_row(source),
        "mask": form.values.get("mask", "") if parse_id(form.values.get("mask", "")) else "",
        "tools": {name: ToolForm(name) for name in TOOLS} | dict(tools or {}),
        "upscalers": upscalers(),
        "cutters": cutters(),
        "prompted": prompted(),
        "pictures": offered_pictures(principal),
        "cards": cards,
        "more_jobs": more_jobs,
        "results": result_cards(principal, source),
        "may_submit": principal.may(SUBMIT),
        "may_load": principal.is_staff,
        "may_upload": principal.may(SUBMIT),
        "why_no_controlnet": why_no_controlnet(form.steering),
        **server_state_context(),
    }
    return render(request, "studio/edit/index.html", context, status=status)


@require_POST
@for_people(SUBMIT)
def upload(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Keeps a picture here. Its id as JSON, or the page with it."""
    try:
        image = keep(request, principal)
    except ValidationError as error:
        return refuse_upload(
            request, principal, " ".join(in_language(one["detail"]) for one in field_errors(error.detail)), 422
        )
    except (DarkroomError, DiskFull) as problem:
        return refuse_upload(request, principal, str(problem), getattr(problem, "status", 507))
    address = f"{reverse('studio-edit')}?image={image.pk}"
    if not is_part(request):
        return HttpResponseRedirect(address)
    return JsonResponse({"id": str(image.pk), "width": image.width, "height": image.height, "address": address})


def keep(request: HttpRequest, principal: Principal) -> GeneratedImage:
    serializer = ImageUploadSerializer(data={"image": request.FILES.get("picture", "")}, context={"principal": principal})
    serializer.is_valid(raise_exception=True)
    return serializer.save()


def refuse_upload(request: HttpRequest, principal: Principal, text: str, status: int) -> HttpResponse:
    if is_part(request):
        return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    form = form_for(None, "")
    form.errors["image"] = text
    return render_edit(request, principal, form, status=status)


@require_POST
@for_people(SUBMIT)
def paint(request: HttpRequest, principal: Principal) -> HttpResponse:
    """From a picture and a prompt, with a painting or without."""
    form, serializer = read_edit_form(request.POST, request.FILES, principal)
    job = None
    if serializer is not None:
        job, form.errors["form"] = submit_or_say(serializer, principal)
    if job is None and not is_part(request):
        return render_edit(request, principal, form, status=422)
    return answer_form(request, job, form)


@require_POST
@for_people(SUBMIT)
def use_tool(request: HttpRequest, principal: Principal, tool: str) -> HttpResponse:
    """Enlarges the picture, cuts its subject out, or makes a control map of it."""
    if tool not in TOOLS:
        raise Http404
    form, job = ToolForm(tool, read_values(tool, request.POST)), None
    if serializer := form.check(principal):
        job, form.errors["form"] = submit_or_say(serializer, principal)
    if job is None and not is_part(request):
        page = form_for(None, request.POST.get("image", ""))
        return render_edit(request, principal, page, {tool: form}, status=422)
    return answer_form(request, job, form)


def read_values(tool: str, data: Mapping[str, Any]) -> dict[str, str]:
    """A map is asked for from within the form that repaints, whose inputs it reads."""
    values = {name: data.get(name, "") for name in TOOLS[tool].fields}
    if tool == "map":
        how, _colon, kind = data.get("control_use", "").partition(":")
        values |= {"image": data.get("control_image") or values["image"], "kind": kind if how == "preprocessor" else ""}
    return values


@require_POST
@for_people(READ)
def steering(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The part of the form that depends on the model: what there is to steer it with."""
    form = EditForm()
    form.fill(request.POST)
    return render(request, "studio/edit/steering.html", {"form": form, "why_no_controlnet": why_no_controlnet(form.steering)})
