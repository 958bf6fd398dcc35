"""What a principal may do. HasScope is the default of every view: nothing is open by accident."""

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from api.access.principals import missing_scope
from api.access.scopes import READ, STAFF, SUBMIT, Principal
from api.access.services import KEY_REQUIRED, not_authenticated

if TYPE_CHECKING:  # rest_framework.views loads this module, as the default of its settings
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Reading needs `read`, everything else `submit`; a view asks for another one with `required_scope`."""

    def required_scope(self, request: Request, view: "APIView") -> str:
        return getattr(view, "required_scope", None) or (READ if request.method in SAFE_METHODS else SUBMIT)

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.auth, Principal):
            raise not_authenticated(KEY_REQUIRED)
        scope = self.required_scope(request, view)
        if not request.auth.may(scope):
            raise missing_scope(scope)
        return True


class IsStaff(HasScope):
    """For what changes the server itself: loading and unloading models."""

    def required_scope(self, request: Request, view: "APIView") -> str:
        return STAFF
