"""Two to four pictures side by side."""

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from api.access.principals import Principal, visible_to
from api.access.scopes import READ, SUBMIT
from api.images.models import GeneratedImage
from api.studio.access import for_people
from api.studio.compare.sheet import make_sheet
from api.studio.views import parse_id

FEWEST, MOST = 2, 4
MOST_OFFERED = 36


@require_safe
@for_people(READ)
def compare(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The pictures that the address names (`image`, repeated); a choice of the newest where those are too few."""
    asked = list(dict.fromkeys(request.GET.getlist("image")))
    images = find_images(principal, asked[:MOST])
    notes = list(describe_lack(asked, images))
    if len(images) < FEWEST:
        context = {"offered": offered_images(principal), "chosen": [image.pk for image in images], "notes": notes, "most": MOST}
        return render(request, "studio/compare/choose.html", context)
    context = {
        "panes": [{"image": image, "without": address_without(images, image)} for image in images],
        "rows": make_sheet(images),
        "notes": notes,
        "may_change": principal.may(SUBMIT),
    }
    return render(request, "studio/compare/side_by_side.html", context)


def describe_lack(asked: Sequence[str], images: Sequence[GeneratedImage]) -> Iterable[str]:
    if len(asked) > MOST:
        yield _("Up to %(most)d pictures are compared at once: these are the first of %(count)d.") % {
            "most": MOST,
            "count": len(asked),
        }
    if missing := len(asked[:MOST]) - len(images):
        yield ngettext("%(count)d picture is not there any more.", "%(count)d pictures are not there any more.", missing) % {
            "count": missing
        }
    if asked and len(images) < FEWEST:
        yield _("It takes two pictures to compare: choose one more, or others.")


def find_images(principal: Principal, ids: Sequence[str]) -> list[GeneratedImage]:
    """Those that are there, in this order."""
    wanted = [pk for pk in map(parse_id, ids) if pk is not None]
    rows = visible_to(principal, GeneratedImage.objects.filter(pk__in=wanted)).select_related("file", "job")
    found = {image.pk: image for image in rows.prefetch_related("tags")}
    return [found[pk] for pk in wanted if pk in found]


def offered_images(principal: Principal) -> list[GeneratedImage]:
    images = visible_to(principal, GeneratedImage.objects.made_here().order_by("-pk"))
    return list(images.only("pk", "prompt", "origin", "width", "height")[:MOST_OFFERED])


def compare_address(ids: Iterable[object]) -> str:
    return f"{reverse('studio-compare')}?{urlencode([('image', pk) for pk in ids])}"


def address_without(images: Sequence[GeneratedImage], image: GeneratedImage) -> str:
    """'' where two are left, which is as few as can be compared."""
    return compare_address(one.pk for one in images if one != image) if len(images) > FEWEST else ""
