"""What no link of ours asks for is refused or ignored in every list and form of the admin; it never ends in an error of the server."""

import uuid
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.db.models import DateTimeField, Model
from django.test import Client
from django.urls import reverse

from tests.rows import make_job, make_picture
from tests.scoring.test_judgements import make_layout
from tests.scoring.test_taste_admin import make_scorer

pytestmark = pytest.mark.django_db
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
GENERAL = [
    "p=abc", "p=-1", "p=99999999999999999999", "o=99", "o=abc", "o=-1.-2", "all=", "all=x", "e=1", "q=%00", "q=" + "a" * 5000,
    "q=%27%22%3B--", "pk=abc", "id=1", "id__exact=%00", "id__in=,,,", "foo=1", "foo__bar__baz=1", "_to_field=foo", "_popup=1",
    "_changelist_filters=%ff%00", "_facets=x", "%00=1", "pk__gt=99999999999999999999999", "id__regex=(", "_preserved=",
]  # fmt: skip
STRANGE_VALUES = [
    "%00",
    "x",
    "-1",
    "99999999999999999999999",
    "",
    "%ff",
    "1&{name}=2",
    "9999-12-31",
    "0001-01-01",
    "10000-01-01",
]


@pytest.fixture
def rows() -> None:
    """A row or two of what the lists show."""
    make_picture(make_job())
    make_layout()
    make_scorer()


def changelist(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def strange(model: type[Model]) -> Iterator[str]:
    yield from GENERAL
    for field in model._meta.concrete_fields:
        if isinstance(field, DateTimeField):
            yield from (f"{field.name}__year={value}" for value in ("9999999", "0", "-1", "abc"))
            yield from (f"{field.name}__{lookup}=9999-12-31T23:59:59-14:00" for lookup in ("gte", "lt", "date", "range"))
        yield from (
            f"{field.name}__{lookup}" for lookup in ("regex=(", "in=%00", "isnull=x", "gt=99999999999999999999", "foo=1")
        )
    for name in filters(model):
        yield from (f"{name}={value.format(name=name)}" for value in STRANGE_VALUES)


def filters(model: type[Model]) -> Iterator[str]:
    """The parameters of a list's filters."""
    for one in admin.site._registry[model].list_filter:
        if isinstance(one, str):
            yield from (f"{one}__exact", f"{one}__isnull", one)
        else:
            yield one.parameter_name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_answers_whatever_its_query_says(admin_client: Client, rows: None, model: type[Model]) -> None:
    admin_client.raise_request_exception = False
    found = {query: admin_client.get(f"{changelist(model)}?{query}").status_code for query in strange(model)}
    assert {query: status for query, status in found.items() if status not in (200, 302, 400)} == {}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_page_of_one_row_answers_whatever_id_is_asked_for(admin_client: Client, rows: None, model: type[Model]) -> None:
    admin_client.raise_request_exception = False
    for identifier in ("x", "99999999999999999999999", "%00", "%ff", "_00", str(uuid.UUID(int=1))):
        for page in ("change", "delete", "history"):
            reply = admin_client.get(f"{changelist(model)}{identifier}/{page}/")
            assert reply.status_code in (200, 302, 403, 404), (identifier, page)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_an_action_answers_whatever_rows_are_named(admin_client: Client, rows: None, model: type[Model]) -> None:
    admin_client.raise_request_exception = False
    actions = [*admin.site._registry[model].actions, "delete_selected", "x", ""]
    for chosen in ("x", "99999999999999999999999", "\x00", "", str(uuid.UUID(int=1))):
        for action in actions:
            body = {"action": action, "_selected_action": [chosen], "index": "abc"}
            assert admin_client.post(changelist(model), body).status_code in (200, 302, 400, 403), (chosen, action)


@pytest.mark.parametrize(
    "query", ["on=%00", "on=x", "a=x&b=y", "a=%00&b=%00", f"a={uuid.UUID(int=1)}&b={uuid.UUID(int=2)}", "foo=1"]
)
def test_the_page_that_compares_answers_whatever_it_is_asked(admin_client: Client, rows: None, query: str) -> None:
    admin_client.raise_request_exception = False
    assert admin_client.get(f"/admin/scoring/comparison/compare/?{query}").status_code in (200, 400, 404)


def test_the_refusal_names_the_parameter(admin_client: Client) -> None:
    reply = admin_client.get("/admin/images/generatedimage/?created_at__year=9999999")
    assert reply.status_code == 400
    assert "This list has no filter &#x27;created_at__year&#x27;." in reply.content.decode()


def test_a_value_with_a_nul_is_refused_for_every_database(admin_client: Client) -> None:
    assert admin_client.get("/admin/jobs/job/?status__exact=%00").status_code == 400
