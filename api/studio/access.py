"""Who may use the pages: whoever may use the API from a browser, which is this machine itself or a staff log-in."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from rest_framework.exceptions import NotAuthenticated
from rest_framework.exceptions import PermissionDenied as Refused

from api.access.principals import Principal, principal_of

View = Callable[Concatenate[HttpRequest, Principal, ...], HttpResponse]


def for_people(scope: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """The view gets the Principal as its second argument. Strangers are led to the log-in, and from there to where they were."""

    def decorate(view: View) -> Callable[..., HttpResponse]:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
            try:
                principal = principal_of(request, scope=scope)
            except NotAuthenticated:
                return to_login(request)
            except Refused as error:
                raise PermissionDenied(str(error.detail)) from None
            response = view(request, principal, *args, **kwargs)
            response["Cache-Control"] = "private, no-store"
            return response

        return wrapped

    return decorate


def to_login(request: HttpRequest) -> HttpResponse:
    """`HX-Redirect` for a part of a page: the whole page must go there, not the part."""
    is_page = request.method == "GET" and not is_part(request)
    here = request.get_full_path() if is_page else page_before(request, reverse("studio"))
    address = f"{reverse('admin:login')}?{urlencode({'next': here})}"
    if is_part(request):
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def page_before(request: HttpRequest, otherwise: str) -> str:
    """The page of this server from which the request was made."""
    referer = request.headers.get("Referer", "")
    is_here = referer and url_has_allowed_host_and_scheme(referer, {request.get_host()})
    return urlunsplit(("", "", *urlsplit(referer)[2:])) if is_here else otherwise


def is_part(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("HX-Request") == "true"
