"""A query parameter that is unknown, given twice, or no value of its type is a 400 that names it, at every address under /api/."""

import base64
from datetime import timedelta
from typing import Any

import django_filters
import pytest
import yaml
from django.core.management import call_command
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from api.jobs.api.selectors import JobFilter
from api.jobs.identifiers import first_id_of
from api.jobs.models import Job
from api.queries import TimeFilter, WholeNumberFilter, YesNoFilter, action_of, known_parameters
from tests.api.addresses import gets, view_of
from tests.rows import make_picture
from tests.walks import check_each

pytestmark = pytest.mark.django_db
OPEN = ("/api/health/", "/api/ready/")


def lists() -> list[str]:
    return [address for address in gets() if is_list(view_of(address))]


def is_list(view: Any) -> bool:
    return hasattr(getattr(view, "cls", None), "filterset_class") and getattr(view, "actions", {"get": "list"})["get"] == "list"


def filters() -> list[tuple[str, str, Any]]:
    """(address, parameter, its filter) of every list."""
    return [
        (address, name, one) for address in lists() for name, one in view_of(address).cls.filterset_class.base_filters.items()
    ]


def problem(client: Client, address: str, **query: Any) -> dict[str, Any]:
    reply = client.get(address, query)
    assert (reply.status_code, reply["Content-Type"]) == (400, "application/problem+json"), reply.content
    return reply.json()  # type: ignore[no-any-return]


def error(client: Client, address: str, **query: Any) -> tuple[str, str]:
    """The first error's field and detail."""
    first = problem(client, address, **query)["errors"][0]
    return first["field"], first["detail"]


# ---------------------------------------------------------------- unknown ones


@pytest.mark.django_db(transaction=True)  # the event stream looks from a thread of its own
def test_every_address_names_a_parameter_that_it_does_not_know(client: Client) -> None:
    def check(address: str) -> None:
        assert error(client, address, foo="1")[0] == "foo"

    check_each(gets(), check)


@pytest.mark.parametrize(
    ("address", "query", "near"),
    [
        ("/api/jobs/", {"state": "failed"}, "Did you mean 'status'?"),
        ("/api/images/", {"width": "64"}, "Known: model_id, seed, min_clip_score, tag"),
        ("/api/images/", {"orders": "rating"}, "Did you mean 'order'?"),
        ("/api/scores/", {"min_aesthetic": "5"}, "min_aesthetic_score"),
        ("/api/jobs/", {"offset": "5"}, "cursor"),
    ],
)
def test_the_nearest_known_parameter_is_told(client: Client, address: str, query: dict[str, str], near: str) -> None:
    assert near in error(client, address, **query)[1]


def test_a_lists_filters_are_unknown_to_one_of_its_rows(client: Client) -> None:
    assert error(client, "/api/jobs/0197c0de-0000-7000-8000-000000000000/", status="failed")[0] == "status"


@pytest.mark.parametrize("method", ["post", "patch", "delete"])
def test_other_methods_refuse_unknown_parameters_too(client: Client, method: str) -> None:
    address = "/api/txt2img/" if method == "post" else "/api/images/0197c0de-0000-7000-8000-000000000000/"
    reply = getattr(client, method)(f"{address}?includes=base64", {"prompt": "x"}, content_type="application/json")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "includes")


def test_a_stranger_is_told_nothing_but_to_bring_a_key(client: Client) -> None:
    assert Client(REMOTE_ADDR="203.0.113.9").get("/api/jobs/?foo=1").status_code == 401


def test_other_servers_clients_may_send_parameters_of_theirs(client: Client) -> None:
    assert client.get("/v1/models?api-version=2024-10-21").status_code == 200


@pytest.mark.parametrize("address", lists())
def test_text_that_is_not_utf8_is_refused(client: Client, address: str) -> None:
    """Django puts U+FFFD in its place, which nothing holds: an empty list would be the answer."""
    reply = client.get(f"{address}?limit=caf%E9")
    [told] = reply.json()["errors"]
    assert (reply.status_code, told["field"], told["code"]) == (400, "limit", "not_utf8")


@pytest.mark.parametrize("address", lists())
def test_a_parameter_that_is_given_twice_is_refused(client: Client, address: str) -> None:
    reply = client.get(f"{address}?limit=2&limit=3")
    assert reply.json()["errors"][0] == {"field": "limit", "code": "repeated_parameter", "detail": "Given more than once."}


def test_the_documentation_lists_exactly_the_known_parameters(tmp_path: Any) -> None:
    file = tmp_path / "openapi.yaml"
    call_command("spectacular", "--file", str(file))
    document = yaml.safe_load(file.read_text())
    paths, shared = document["paths"], document["components"]["parameters"]
    for address in gets():
        view = view_of(address)
        if not hasattr(view, "cls") or address in ("/api/schema/", "/api/docs/"):
            continue
        instance = view.cls(**view.initkwargs)
        if actions := getattr(view, "actions", None):
            instance.action = actions["get"]
        route = (
            address.replace("0197c0de-0000-7000-8000-000000000000", "{id}")
            .replace("/x/", "/{name}/")
            .replace("/starter/", "/{model_id}/")
        )
        named = paths[route]["get"].get("parameters", [])
        parameters = [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in named]
        documented = {one["name"] for one in parameters if one["in"] == "query"}
        assert documented == set(known_parameters(instance, action_of(instance, "GET"))), address


# ---------------------------------------------------------------- their values


def junk(one: Any) -> list[str]:
    """Values that aren't of a filter's type."""
    match one:
        case TimeFilter():
            return ["x", "2026-13-01", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "99999-01-01", "5"]
        case WholeNumberFilter():
            return ["x", "0.5", "2.5", "1e999", "NaN", "9" * 5000, "-1"]
        case YesNoFilter():
            return ["x", "2", "yes", "-1"]
        case django_filters.NumberFilter():
            return ["x", "NaN", "Infinity", "1e999", "9" * 5000]
        case django_filters.UUIDFilter() | django_filters.ChoiceFilter():
            return ["x", "-1", "\x00"]
        case django_filters.CharFilter():
            return ["\x00"]
    raise AssertionError(f"{one}: its type is not tested")


@pytest.mark.parametrize("address", lists())
def test_a_value_of_the_wrong_type_is_refused(client: Client, address: str) -> None:
    def check(name: str, value: str) -> None:
        assert error(client, address, **{name: value})[0] == name

    check_each([(name, value) for one, name, filter in filters() if one == address for value in junk(filter)], check)


def test_a_choice_that_there_is_not_names_those_that_there_are(client: Client) -> None:
    assert "Known: queued, running, succeeded, failed, cancelled." in error(client, "/api/jobs/", status="done")[1]


def test_no_filter_is_of_a_type_that_takes_what_it_cannot_read(client: Client) -> None:
    plain = {django_filters.IsoDateTimeFilter, django_filters.DateTimeFilter, django_filters.BooleanFilter}
    plain |= {django_filters.ChoiceFilter}  # it doesn't say which choices there are
    assert [(address, name) for address, name, one in filters() if type(one) in plain] == []


@pytest.mark.parametrize("value", ["true", "1", "True", "false", "0"])
def test_yes_and_no_are_understood(client: Client, value: str) -> None:
    assert client.get("/api/images/", {"favourite": value}).status_code == 200


@pytest.mark.parametrize("value", ["2026-11-27", "2026-11-27T10:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_times_are_understood(client: Client, value: str) -> None:
    for address in ("/api/jobs/", "/api/images/", "/api/scores/"):
        assert client.get(address, {"created_after": value, "created_before": value}).status_code == 200


# ---------------------------------------------------------------- cursors

POSITIONS = ["x", "", "nan", "inf", "\x00", "-", "20 26", "\ud7ff", "null"]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("order", ["newest", "oldest", "rating", "clip_score"])
def test_a_cursor_that_no_page_gave_is_refused_in_every_order(client: Client, order: str, position: str) -> None:
    cursor = base64.b64encode(f"p={position}".encode()).decode()
    assert error(client, "/api/images/", order=order, cursor=cursor)[0] == "cursor"


@pytest.mark.parametrize("address", lists())
def test_every_lists_cursor_is_checked(client: Client, address: str) -> None:
    def check(cursor: str) -> None:
        assert client.get(address, {"cursor": cursor}).status_code in (200, 400)

    check_each(["cD14", "x", "%%%", "bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "\x00", "é", "="], check)
    assert error(client, address, cursor=base64.b64encode(b"p=x").decode())[0] == "cursor"


@pytest.mark.parametrize("order", ["rating", "clip_score"])
def test_pages_show_each_picture_once_however_many_have_the_same_value(client: Client, order: str) -> None:
    made = {str(make_picture(rating=5, clip_score=30.0).pk) for _ in range(7)}
    shown, address = [], f"/api/images/?order={order}&limit=2"
    while address:
        page = client.get(address).json()
        shown += [image["id"] for image in page["results"]]
        address = page["next"]
    assert shown == sorted(made, reverse=True)


def test_a_list_makes_the_filters_that_are_asked_for_and_no_others() -> None:
    assert list(JobFilter(QueryDict("status=failed&limit=5")).filters) == ["status"]
    assert set(JobFilter.base_filters) > {"status", "kind"}


def test_a_list_by_date_goes_by_the_databases_clock_though_it_begins_at_an_id(client: Client) -> None:
    """The web process that made the id may be hours off."""
    now = timezone.now()
    behind, ahead = (first_id_of(now, seconds=hours * 3600) for hours in (-3, 3))
    for pk in (behind, ahead):
        Job.objects.create(id=pk, kind="txt2img", owner_key="local")
    early, late = ((now + timedelta(minutes=minutes)).isoformat() for minutes in (-5, 5))
    found = client.get("/api/jobs/", {"created_after": early, "created_before": late}).json()["results"]
    assert {job["id"] for job in found} == {str(behind), str(ahead)}
    assert client.get("/api/jobs/", {"created_before": early}).json()["results"] == []
    assert client.get("/api/jobs/", {"created_after": late}).json()["results"] == []
