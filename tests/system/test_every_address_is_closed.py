"""Default deny: every address, without a key and with another owner's."""

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from api.access.services import create_key
from api.images.models import GeneratedImage
from api.jobs.models import Job
from tests.system.conftest import bearer
from tests.walks import check_each

pytestmark = pytest.mark.django_db
OPEN = {"/api/health/", "/api/ready/", "/health"}
SAMPLES = {"uuid": "0197c0de-0000-7000-8000-000000000000", "int": "1", "str": "x", "slug": "x", "path": "starter"}
METHODS = ("get", "head", "post", "put", "patch", "delete")


def addresses() -> Iterator[str]:
    """One address for every pattern of the URL configuration, with sample values in it."""
    for route in routes(get_resolver().url_patterns, "/"):
        yield re.sub(r"<(?:(\w+):)?(\w+)>", lambda match: SAMPLES.get(match[1] or "str", "x"), route)


def routes(patterns: list[Any], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and not re.search(r"[\\^$]", route):
            yield route


def is_page(address: str) -> bool:
    """A page for people: they are sent to log in."""
    return address.startswith(("/admin/", "/studio/", "/api/docs/")) or address == "/"


@pytest.fixture
def stranger(outside: Client) -> Client:
    """On another machine, with no key, of a server that has one."""
    create_key(name="somebody else")
    return outside


def closed_addresses() -> Iterator[tuple[str, str]]:
    for address in addresses():
        if not is_page(address) and address not in OPEN:
            methods = ("get", "head") if address.endswith("/events/") else METHODS  # no DRF view: 405 comes first there
            yield from ((method, address) for method in methods)


def test_a_stranger_is_told_to_bring_a_key(stranger: Client) -> None:
    def check(method: str, address: str) -> None:
        reply = getattr(stranger, method)(address)
        assert (reply.status_code, reply["WWW-Authenticate"]) == (401, "Bearer")

    check_each(closed_addresses(), check)


@pytest.mark.django_db(transaction=True)  # some look from a thread of their own
def test_a_key_opens_as_basics_password_what_it_opens_as_bearer(outside: Client) -> None:
    _, token = create_key(name="a client")
    credentials = base64.b64encode(f"anyone:{token}".encode()).decode()

    def check(address: str) -> None:
        reply = outside.get(address, headers={"Authorization": f"Basic {credentials}"})
        plain = outside.get(address, headers=bearer(token))
        assert reply.status_code == plain.status_code != 401

    check_each([address for method, address in closed_addresses() if method == "get"], check)


def test_a_wrong_password_is_told_with_its_own_challenge(stranger: Client) -> None:
    def check(method: str, address: str) -> None:
        reply = getattr(stranger, method)(address, headers={"Authorization": "Basic YW55b25lOndyb25n"})
        assert (reply.status_code, reply["WWW-Authenticate"].partition(" ")[0]) == (401, "Basic")

    check_each(closed_addresses(), check)


def test_a_stranger_is_sent_to_log_in_by_every_page(stranger: Client) -> None:
    def check(address: str) -> None:
        reply = stranger.get(address)
        assert reply.status_code in (200, 302, 401, 403, 404, 405)
        assert reply.status_code != 200 or b'name="password"' in reply.content

    check_each([address for address in addresses() if is_page(address)], check)


@pytest.mark.parametrize("address", sorted(OPEN))
def test_health_and_readiness_are_open_to_everybody(stranger: Client, address: str) -> None:
    assert stranger.get(address).status_code in (200, 503)


@pytest.mark.django_db(transaction=True)  # the event stream looks from a thread of its own
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("get", "/api/jobs/{job}/"),
        ("delete", "/api/jobs/{job}/"),
        ("post", "/api/jobs/{job}/cancel/"),
        ("post", "/api/jobs/{job}/retry/"),
        ("get", "/api/jobs/{job}/events/"),
        ("get", "/api/images/{image}/"),
        ("patch", "/api/images/{image}/"),
        ("delete", "/api/images/{image}/"),
        ("get", "/api/images/{image}/file/"),
        ("get", "/api/images/{image}/thumbnail/"),
        ("get", "/api/ratings/{rating}/"),
        ("delete", "/api/ratings/{rating}/"),
    ],
)
def test_what_is_anothers_is_not_found(
    outside: Client, make_picture: Callable[[str], GeneratedImage], method: str, address: str
) -> None:
    key, _ = create_key(name="the owner")
    _, token = create_key(name="another")
    picture = make_picture(key.prefix)
    rating = picture.file.ratings.give(owner_key=key.prefix, stars=5)
    address = address.format(job=picture.job_id, image=picture.pk, rating=rating.pk)
    reply = getattr(outside, method)(address, headers=bearer(token))
    assert reply.status_code == 404
    assert Job.objects.filter(pk=picture.job_id).exists()


@pytest.mark.parametrize("address", ["/api/jobs/", "/api/images/", "/api/ratings/"])
def test_what_is_anothers_is_not_listed(outside: Client, make_picture: Callable[[str], GeneratedImage], address: str) -> None:
    key, _ = create_key(name="the owner")
    _, token = create_key(name="another")
    make_picture(key.prefix).file.ratings.give(owner_key=key.prefix, stars=5)
    assert outside.get(address, headers=bearer(token)).json()["results"] == []
