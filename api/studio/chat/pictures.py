"""The pictures of a message: sent from this machine, or chosen out of the gallery."""

import uuid

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from api.access.principals import Principal
from api.access.scopes import READ, SUBMIT
from api.files.errors import DiskFull, InvalidImage
from api.files.models import StoredFile
from api.studio.access import for_people
from api.studio.chat.forms import store
from api.studio.gallery.pages import find_page, read_place
from api.studio.gallery.query import read_query
from api.studio.job_views import refuse
from api.studio.sentences import in_language


@require_POST
@for_people(SUBMIT)
def upload(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Kept for a day, and for as long as a message has it."""
    file = request.FILES.get("picture")
    if file is None:
        return refuse(_("There is no file."))
    try:
        return JsonResponse({"id": str(store(principal, file))})
    except InvalidImage as error:
        return refuse(in_language(error.detail))
    except DiskFull as error:
        return refuse(str(error))


@require_safe
@for_people(READ)
def picker(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The newest pictures of the gallery, or those whose prompts have the words of `q`."""
    query = read_query(request.GET)
    page = find_page(principal, query, read_place(request.GET.get("after", ""), query.order))
    context = {"images": page.images, "next": str(page.next) if page.next else "", "words": query.values.get("q", "")}
    return render(request, "studio/chat/picker.html", context)


def known_pictures(principal: Principal, values: list[str]) -> list[str]:
    """Those of the ids that are pictures of this person."""
    found = []
    for value in values:
        try:
            pk = uuid.UUID(value)
        except ValueError:
            continue
        mine = StoredFile.objects.filter(pk=pk)
        if (mine if principal.is_staff else mine.filter(owner_key=principal.owner_key)).exists():
            found.append(str(pk))
    return found
