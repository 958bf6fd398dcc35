"""The gallery's pages: the list, one picture, and what is done to them."""

import json
import uuid
from collections.abc import Mapping
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from api.access.principals import Principal
from api.access.scopes import READ, SUBMIT
from api.images.models import GeneratedImage
from api.studio.access import for_people, is_part, page_before
from api.studio.compare.views import compare_address
from api.studio.gallery.changes import Changed, Refused, change_images, changed_json, read_ids
from api.studio.gallery.pages import PAGE, Place, find_page, models_of, read_place, tags_of
from api.studio.gallery.picture import find_picture, picture_context
from api.studio.gallery.query import ORDERS, RATINGS, SHAPES, SIDES, GalleryQuery, read_query


@require_safe
@for_people(READ)
def gallery(request: HttpRequest, principal: Principal) -> HttpResponse:
    query = read_query(request.GET)
    page = find_page(principal, query, read_place(request.GET.get("after", ""), query.order))
    context = {
        "images": page.images,
        "next_address": address_of(query, page.next) if page.next else "",
        "page_size": PAGE,
        "query": query,
        "values": query.values,
        "may_change": principal.may(SUBMIT),
    }
    if is_part(request):
        return render(request, "studio/gallery/tiles.html", context)
    return render(request, "studio/gallery/index.html", {**context, **choices(principal)})


def address_of(query: GalleryQuery, place: Place) -> str:
    return f"{reverse('studio-gallery')}?{urlencode({**query.values, 'after': str(place)})}"


def choices(principal: Principal) -> Mapping[str, object]:
    return {
        "orders": [(name, order.label) for name, order in ORDERS.items()],
        "ratings": RATINGS.items(),
        "shapes": SHAPES.items(),
        "sides": SIDES.items(),
        "origins": GeneratedImage.Origin.choices,
        "models": models_of(principal),
        "tags": tags_of(principal),
    }


@require_POST
@for_people(SUBMIT)
def change(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Many pictures at once. JSON for the page's script; a browser without scripts goes back to where it was."""
    try:
        if request.POST.get("action") == "compare":  # of a browser without scripts: gallery.js goes there by itself
            return HttpResponseRedirect(compare_address(read_ids(request.POST)))
        changed = change_images(principal, request.POST)
    except Refused as refusal:
        if is_part(request):
            return JsonResponse({"detail": str(refusal)}, status=422)
        messages.error(request, str(refusal))
        return back(request)
    if is_part(request):
        return JsonResponse(described(changed))
    messages.success(request, changed.sentence)
    return back(request)


def described(changed: Changed) -> dict[str, object]:
    return {"detail": changed.sentence, "images": changed_json(changed.images), "gone": changed.gone}


def back(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(page_before(request, reverse("studio-gallery")))


# ---------------------------------------------------------------- one picture


@require_safe
@for_people(READ)
def picture(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    image = find_picture(principal, id)
    if image is None:
        raise Http404
    name = "studio/picture.html" if is_part(request) else "studio/picture_page.html"
    return render(request, name, picture_context(request, principal, image))


@require_POST
@for_people(SUBMIT)
def change_picture(request: HttpRequest, principal: Principal, id: uuid.UUID) -> HttpResponse:
    """Its stars, whether it is a favourite, its tags; or it goes. The gallery behind it hears of that by an event of htmx."""
    data = request.POST.copy()
    data["ids"] = str(id)
    error = ""
    try:
        changed = change_images(principal, data)
    except Refused as refusal:
        error = str(refusal)
    else:
        if changed.gone:
            raise Http404
    image = find_picture(principal, id)
    if not is_part(request):
        if error:
            messages.error(request, error)
        return HttpResponseRedirect(reverse("studio-image", args=[id]) if image else reverse("studio-gallery"))
    if image is None:
        return HttpResponse(headers={"HX-Trigger": json.dumps({"darkroom:deleted": {"id": str(id)}})})
    context = {"image": image, "tag_text": ", ".join(tag.name for tag in image.tags.all()), "may_change": True, "error": error}
    response = render(request, "studio/gallery/judgement.html", context)
    response["HX-Trigger"] = json.dumps({"darkroom:changed": changed_json([image])[0]})
    return response
