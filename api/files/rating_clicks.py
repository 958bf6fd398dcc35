"""A click on a star (templates/admin/stars.html), for the admin pages of every capability whose things are rated."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme


def read_rating(request: HttpRequest) -> int | None:
    """1-5; None for 0, which takes them back. Raises Http404 for what no star of ours sends."""
    value = request.POST.get("stars", "")
    if value not in ("0", "1", "2", "3", "4", "5"):
        raise Http404
    return int(value) or None


def answer_rating(request: HttpRequest, stars: int | None, otherwise: str) -> HttpResponse:
    """The stars anew for htmx; without it, back to the page that they were on, or to `otherwise`."""
    if request.headers.get("HX-Request") == "true":
        return render(request, "admin/stars.html", {"stars": stars, "rate_url": request.path})
    came_from = request.headers.get("Referer", "")
    here = url_has_allowed_host_and_scheme(came_from, {request.get_host()})
    return HttpResponseRedirect(came_from if here else otherwise)
