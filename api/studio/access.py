"""Who may use the pages: whoever may use the API from a browser, which is this machine itself or a staff log-in."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from rest_framework.exceptions import NotAuthenticated
from rest_framework.exceptions import PermissionDenied as Refused

from api.access.principals import Principal, principal_of

View = Callable[Concatenate[HttpRequest, Principal, ...], HttpResponse]


def for_people(scope: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """The view gets the Principal as its second argument. Strangers are led to the log-in and back to the studio."""

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
    address = f"{reverse('admin:login')}?{urlencode({'next': reverse('studio')})}"
    if is_part(request):
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def is_part(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("HX-Request") == "true"
