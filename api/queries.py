"""Query parameters: every one that is sent is known to the address, is given once, and has a value of its type."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError as InvalidValue
from django_filters.fields import IsoDateTimeField
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from api.form_data import REPLACEMENT
from api.strict import describe_choices, unknown_names

API = "/api/"


class KnownParameters(BaseThrottle):
    """In DEFAULT_THROTTLE_CLASSES: the one thing that DRF asks for every view after it has let the requester in.

    Other servers' APIs are left out: their clients may send what says nothing here.
    """

    def allow_request(self, request: Request, view: object) -> bool:
        if request.path.startswith(API) and request.method != "OPTIONS":
            check_parameters(request.query_params, known_parameters(view, action_of(view, request.method or "GET")))
        return True


def check_parameters(given: Any, known: list[str]) -> None:
    """`given` is a QueryDict. Raises ValidationError."""
    if unknown := unknown_names(given, known, "query parameter"):
        raise ValidationError(unknown, code="unknown_parameter")
    repeated = {name: ["Given more than once."] for name in given if len(given.getlist(name)) > 1}
    if repeated:
        raise ValidationError(repeated, code="repeated_parameter")
    unreadable = {name: ["The text of a query must be UTF-8."] for name, value in given.items() if REPLACEMENT in value}
    if unreadable:
        raise ValidationError(unreadable, code="not_utf8")


def known_parameters(view: Any, action: str) -> list[str]:
    """What an action reads of the query: `query_parameters` of its view, and of a list those of its filters and its pages."""
    names = list(getattr(view, "query_parameters", {}).get(action, ()))
    if action == "list" or (action == "get" and isinstance(view, ListModelMixin)):
        names += [*view.filterset_class.base_filters, *view.pagination_class.query_parameters]
    return names


def action_of(view: object, method: str) -> str:
    """A view set's action, or the method in lower case."""
    lower = method.lower()
    return getattr(view, "action", None) or ("get" if lower == "head" else lower)


# ---------------------------------------------------------------- filters


class GivenFilters(django_filters.FilterSet):
    """Makes the filters that a request names and no others: those of all took a third of a page's time."""

    base_filters: dict[str, Any]

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        self.base_filters = {name: one for name, one in self.base_filters.items() if name in (data or ())}
        super().__init__(data, *args, **kwargs)


class TimeField(IsoDateTimeField):
    """A time in UTC. 9999-12-31T23:59:59-14:00 is well formed and has none."""

    def to_python(self, value: object) -> datetime | None:
        try:
            moment: datetime | None = super().to_python(value)
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise InvalidValue("This time is beyond the years 1 to 9999 in UTC.", code="invalid") from None


class YesNoField(forms.Field):
    """Django's NullBooleanField takes what it doesn't know for no answer."""

    VALUES = {"true": True, "1": True, "false": False, "0": False}

    def to_python(self, value: str | None) -> bool | None:
        if not value:
            return None
        if value.lower() not in self.VALUES:
            raise InvalidValue("Must be true or false.", code="invalid")
        return self.VALUES[value.lower()]


class ChoiceField(django_filters.fields.ChoiceField):
    def validate(self, value: Any) -> None:
        try:
            super().validate(value)
        except InvalidValue:
            raise InvalidValue(
                describe_choices(value, [name for name, _ in self.choices if name]), code="invalid_choice"
            ) from None


class ChoiceFilter(django_filters.ChoiceFilter):
    field_class = ChoiceField


class TimeFilter(django_filters.IsoDateTimeFilter):
    field_class = TimeField


class WholeNumberFilter(django_filters.NumberFilter):
    field_class = forms.IntegerField


class YesNoFilter(django_filters.BooleanFilter):
    field_class = YesNoField
