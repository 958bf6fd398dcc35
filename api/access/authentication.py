"""DRF's way to `principal_of`."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from api.access.principals import challenge_for, principal_of
from api.access.scopes import Principal


class PrincipalAuthentication(BaseAuthentication):
    """Sets request.user and request.auth to the Principal.

    A request that says nothing about itself stays anonymous here, so that views for everybody (health) answer it;
    HasScope refuses it.
    """

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        try:
            principal = principal_of(request._request)
        except NotAuthenticated:
            if "Authorization" in request.headers:
                raise
            return None
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        return challenge_for(request._request)
