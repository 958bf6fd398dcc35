"""The admin's site: what every list and form of it has in common, also those of Django's own users and of EXTRA_APPS."""

from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.text import Truncator, capfirst

from api.access.password_attempts import SlowedLoginForm


class UnknownFilter(Exception):
    """A parameter that none of a list's filters reads."""


class StrictList(ChangeList):
    def get_filters(self, request: HttpRequest) -> Any:
        """Django makes a lookup of what is left over, any lookup of any field: `created_at__year=9999999` then ends in a 500."""
        found = super().get_filters(request)
        for name in found[2]:
            raise UnknownFilter(f"This list has no filter '{Truncator(name).chars(60)}'.")
        return found


class StrictLists(admin.ModelAdmin):
    """Mixed into every ModelAdmin."""

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        return StrictList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        title = capfirst(str(self.opts.verbose_name_plural))
        try:
            return super().changelist_view(request, {"title": title, **(extra_context or {})})
        except UnknownFilter as error:
            return refuse(request, str(error))

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        pk: Any = self.opts.pk
        pk = pk.target_field if pk.remote_field else pk
        for identifier in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                pk.run_validators(pk.to_python(identifier))
            except ValidationError:
                return refuse(request, f"'{Truncator(identifier).chars(60)}' is no id of a row of this list.")
        return super().response_action(request, queryset, *args, **kwargs)


class DarkroomSite(admin.AdminSite):
    login_form = SlowedLoginForm

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        base = admin_class or admin.ModelAdmin
        strict = type(base.__name__, (StrictLists, base), {"__module__": base.__module__, "__doc__": base.__doc__})
        super().register(model_or_iterable, strict, **options)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            """PostgreSQL refuses a NUL in a text, and SQLite doesn't: it is refused here for both."""
            if any("\x00" in text for name, values in request.GET.lists() for text in (name, *values)):
                return refuse(request, "The address has a NUL character in its query.")
            return inner(request, *args, **kwargs)

        return checked


def refuse(request: HttpRequest, detail: str) -> HttpResponseBase:
    return render(request, "error.html", {"status": 400, "title": "Bad Request", "detail": detail}, status=400)
