"""Who may use the pages: this machine itself, where no key was made; and who has logged in, with a key or an account (login.py)."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotAuthenticated
from rest_framework.exceptions import PermissionDenied as Refused

from api.access.principals import Principal, principal_of
from api.access.scopes import READ, SUBMIT
from api.problems import answer
from api.studio.people import greet
from api.studio.sentences import in_language

View = Callable[Concatenate[HttpRequest, Principal, ...], HttpResponse]


def for_people(scope: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """The view gets the Principal as its second argument. Strangers are led to the log-in, and from there to where they were."""

    def decorate(view: View) -> Callable[..., HttpResponse]:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
            try:
                principal = principal_of(request)
            except NotAuthenticated:
                return to_login(request)
            except Refused as error:
                return refuse(request, in_language(error.detail))
            if not principal.may(scope):
                return refuse(request, lacking(scope))
            greet(request, principal)
            response = view(request, principal, *args, **kwargs)
            response["Cache-Control"] = "private, no-store"
            return response

        return wrapped

    return decorate


def lacking(scope: str) -> str:
    """Why a key may not do this."""
    if scope == SUBMIT:
        return _("This API key may only look: to make, change or delete anything it needs the scope “submit”.")
    if scope == READ:
        return _("This API key can't open pages: it lacks the scope “read”.")
    return _("This needs an API key with the scope “%(scope)s”.") % {"scope": scope}


def refuse(request: HttpRequest, sentence: str) -> HttpResponse:
    """403, with the sentence where the person looks: as a page, or for the script that shows it on the page."""
    if is_part(request):
        return HttpResponse(sentence, status=403, content_type="text/plain; charset=utf-8")
    return answer(request, 403, "permission_denied", sentence)


def to_login(request: HttpRequest) -> HttpResponse:
    """`HX-Redirect` for a part of a page: the whole page must go there, not the part."""
    is_page = request.method == "GET" and not is_part(request)
    here = request.get_full_path() if is_page else page_before(request, reverse("studio"))
    address = f"{reverse('studio-login')}?{urlencode({'next': here})}"
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
