"""The page that looks at a picture."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.files.formats import list_labels
from api.files.inputs import parse_id
from api.files.models import StoredFile
from api.images.uploads import ImageUploadSerializer
from api.problems import field_errors
from api.studio.access import for_people, is_part
from api.studio.found.pictures import is_tall
from api.studio.job_views import DISMISSED
from api.studio.looking.earlier import looked_at_before, looks_at
from api.studio.looking.form import REMEMBERED, LookForm, ask, first_form, read_form
from api.studio.sentences import in_language

KEPT_SECONDS = 7 * 86_400
"""Of an upload that is not looked at; one that is stays as long as its jobs."""


@require_safe
@for_people(READ)
def look_page(request: HttpRequest, principal: Principal) -> HttpResponse:
    form, asked = first_form(request.session), request.GET.get("image", "")
    file = find_file(principal, asked)
    if asked and file is None:
        form.errors["picture"] = _("This picture is not here any more.")
    return show(request, principal, form, file, 404 if asked and file is None else 200)


@require_POST
@for_people(SUBMIT)
def take_picture(request: HttpRequest, principal: Principal) -> HttpResponse:
    """A picture that was dropped, pasted or chosen is here from then on, at an address of its own."""
    form = read_form(request.POST)
    request.session[REMEMBERED] = form.remembered()
    return answer(request, principal, form, picture_of(request, principal, form))


@require_POST
@for_people(SUBMIT)
def ask_looks(request: HttpRequest, principal: Principal) -> HttpResponse:
    form = read_form(request.POST)
    file = picture_of(request, principal, form)
    if file is not None and ask(form, file, principal):
        request.session[REMEMBERED] = form.remembered()
    return answer(request, principal, form, file)


def picture_of(request: HttpRequest, principal: Principal, form: LookForm) -> StoredFile | None:
    """The one that was sent with the form, else the one that it names. What is wrong with it is the form's error."""
    earlier = find_file(principal, request.POST.get("image", ""))
    if "picture" not in request.FILES:
        if earlier is None:
            form.errors["picture"] = _("Choose a picture first.")
        return earlier
    serializer = ImageUploadSerializer(
        data={"image": request.FILES["picture"], "expires_in": KEPT_SECONDS}, context={"principal": principal}
    )
    try:
        serializer.is_valid(raise_exception=True)
        return serializer.save().file
    except ValidationError as error:
        form.errors["picture"] = " ".join(in_language(one["detail"]) for one in field_errors(error.detail))
    except (DarkroomError, DiskFull) as problem:
        form.errors["picture"] = str(getattr(problem, "detail", problem))
    return earlier


def find_file(principal: Principal, identifier: str) -> StoredFile | None:
    pk = parse_id(identifier)
    return visible_to(principal, StoredFile.objects.filter(pk=pk)).first() if pk else None


# ---------------------------------------------------------------- the page, and the part of it that changes


def answer(request: HttpRequest, principal: Principal, form: LookForm, file: StoredFile | None) -> HttpResponse:
    """To the picture's address, where nothing is wrong."""
    address = address_of(file)
    if is_part(request):
        response = show(request, principal, form, file)
        response["HX-Push-Url"] = address
        return response
    return show(request, principal, form, file, 422) if form.errors else HttpResponseRedirect(address)


def address_of(file: StoredFile | None) -> str:
    page = reverse("studio-look")
    return f"{page}?{urlencode({'image': file.pk})}" if file else page


def show(
    request: HttpRequest, principal: Principal, form: LookForm, file: StoredFile | None, status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "file": file,
        "is_tall": file is not None and is_tall(file),
        "formats": list_labels(),
        "looks": looks_at(principal, file, request.session.get(DISMISSED, [])) if file else [],
        "before": looked_at_before(principal, file),
        "may_submit": principal.may(SUBMIT),
    }
    return render(request, "studio/look/page.html" if is_part(request) else "studio/look/index.html", context, status=status)
