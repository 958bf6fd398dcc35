"""The log-in of the studio's pages: with an API key, or with an account of the admin."""

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.exceptions import NotAuthenticated
from rest_framework.exceptions import PermissionDenied as Refused

from api.access.password_attempts import WAIT_SECONDS, SlowedLoginForm
from api.access.principals import principal_of
from api.access.scopes import READ
from api.access.services import find_active_key, note_use
from api.access.sessions import log_in_with_key
from api.problems import answer
from api.studio.sentences import in_language


@sensitive_post_parameters("key", "password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def login_page(request: HttpRequest) -> HttpResponse:
    """Who is somebody here already is led on: also this machine itself, where no key was made."""
    after = safe_next(request)
    try:
        principal_of(request)
    except NotAuthenticated:
        return log_in(request, after) if request.method == "POST" else show(request, after)
    except Refused as error:
        return answer(request, 403, "permission_denied", in_language(error.detail))
    return HttpResponseRedirect(after)


def safe_next(request: HttpRequest) -> str:
    """A page of this server, which was asked for before; the front page where that is none."""
    after = request.POST.get("next", "") or request.GET.get("next", "")
    is_here = url_has_allowed_host_and_scheme(after, {request.get_host()}, require_https=request.is_secure())
    return after if is_here and after != request.path else reverse("studio")


def log_in(request: HttpRequest, after: str) -> HttpResponse:
    return log_in_by_key(request, after) if "key" in request.POST else log_in_by_account(request, after)


def log_in_by_key(request: HttpRequest, after: str) -> HttpResponse:
    key = find_active_key(request.POST["key"].strip())
    if key is None:
        return show(request, after, key_error=_("This API key is unknown, expired or revoked."))
    if not key.as_principal().may(READ):
        return show(request, after, key_error=_("This API key can't open pages: it lacks the scope “read”."))
    note_use(key)
    log_in_with_key(request, key)
    return HttpResponseRedirect(after)


def log_in_by_account(request: HttpRequest, after: str) -> HttpResponse:
    form = SlowedLoginForm(request, request.POST)
    if form.is_valid():
        login(request, form.get_user())
        return HttpResponseRedirect(after)
    if form.has_error("__all__", "too_many"):
        response = show(request, after, form=form, status=429)
        response["Retry-After"] = str(WAIT_SECONDS)
        return response
    return show(request, after, form=form)


def show(
    request: HttpRequest, after: str, *, key_error: str = "", form: SlowedLoginForm | None = None, status: int = 200
) -> HttpResponse:
    errors = [error for found in form.errors.values() for error in found] if form else []
    username = request.POST.get("username", "")[:150]
    context = {"next": after, "key_error": key_error, "account_errors": errors, "username": username}
    return render(request, "studio/login.html", context, status=status)


@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponseRedirect(reverse("studio-login"))
