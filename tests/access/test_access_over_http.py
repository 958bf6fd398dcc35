"""The access rules as a client meets them, through DRF and the CORS middleware."""

from typing import Any

import pytest
from django.test import AsyncClient, Client

from api.access.services import create_key
from tests.access.conftest import basic, bearer

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.access.urls")]
OUTSIDE = "203.0.113.9"
PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}


@pytest.fixture
def outside() -> Client:
    return Client(REMOTE_ADDR=OUTSIDE)


def test_a_stranger_gets_a_401_that_names_the_cure(outside: Client) -> None:
    reply = outside.get("/who/")
    assert reply.status_code == 401
    assert reply["WWW-Authenticate"] == "Bearer"
    assert reply["Content-Type"] == "application/problem+json"
    assert "manage.py create_key" in reply.json()["detail"]


def test_a_wrong_key_gets_a_401(outside: Client, token: str) -> None:
    reply = outside.get("/who/", headers=bearer("drk_no"))
    assert reply.status_code == 401
    assert reply["WWW-Authenticate"] == "Bearer"


def test_basic_is_asked_for_only_of_who_tried_it(outside: Client, token: str) -> None:
    """A browser shows its own dialog where Basic is asked for."""
    assert outside.get("/who/")["WWW-Authenticate"] == "Bearer"
    reply = outside.get("/who/", headers=basic("wrong"))
    assert (reply.status_code, reply["WWW-Authenticate"][:12]) == (401, "Basic realm=")
    assert outside.get("/who/", headers=basic(token)).json() == {"owner_key": token.split("_")[1]}


def test_the_machine_itself_is_local(client: Client) -> None:
    assert client.get("/who/").json() == {"owner_key": "local"}


def test_a_foreign_page_gets_a_403(client: Client) -> None:
    assert client.post("/who/", headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_foreign_host_gets_a_400(client: Client) -> None:
    assert client.get("/who/", headers={"Host": "rebound.example"}).status_code == 400


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        (["read"], "get", "/who/", 200),
        (["read"], "post", "/who/", 403),
        (["submit"], "post", "/who/", 200),
        (["submit"], "get", "/who/", 403),
        (["read", "submit"], "get", "/staff/", 403),
        (["read", "submit"], "post", "/staff/", 403),
        (["staff"], "get", "/staff/", 200),
        (["staff"], "post", "/who/", 200),
    ],
)
def test_a_key_does_what_its_scopes_say(outside: Client, scopes: list[str], method: str, path: str, status: int) -> None:
    _, token = create_key(name="x", scopes=scopes)
    assert getattr(outside, method)(path, headers=bearer(token)).status_code == status


def test_a_view_for_everybody_answers_a_stranger(outside: Client) -> None:
    assert outside.get("/open/").json() == {"known": False}


def test_a_session_reads_but_does_not_write(outside: Client, admin_user: Any, token: str) -> None:
    outside.force_login(admin_user)
    assert outside.get("/who/").json() == {"owner_key": f"user:{admin_user.pk}"}
    assert outside.post("/who/").status_code == 401


# CORS


def test_a_preflight_of_a_listed_origin_is_answered(client: Client, settings: Any) -> None:
    settings.CORS_ORIGINS = ["https://app.example"]
    reply = client.options("/who/", headers={**PREFLIGHT, "Access-Control-Request-Headers": "authorization,x-stainless-os"})
    assert reply.status_code == 204
    assert reply["Access-Control-Allow-Origin"] == "https://app.example"
    assert reply["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
    assert "POST" in reply["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in reply


def test_a_preflight_of_another_origin_is_refused(client: Client, settings: Any) -> None:
    settings.CORS_ORIGINS = ["https://other.example"]
    reply = client.options("/who/", headers=PREFLIGHT)
    assert reply.status_code == 403
    assert "Access-Control-Allow-Origin" not in reply


def test_a_listed_origin_may_read_the_reply(client: Client, settings: Any) -> None:
    settings.CORS_ORIGINS = ["https://app.example"]
    reply = client.get("/who/", headers={"Origin": "https://app.example"})
    assert reply.status_code == 200
    assert reply["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Location" in reply["Access-Control-Expose-Headers"]
    assert "Origin" in reply["Vary"]


def test_nobody_else_may_read_the_reply(client: Client, settings: Any) -> None:
    settings.CORS_ORIGINS = ["https://app.example"]
    reply = client.get("/who/")
    assert "Access-Control-Allow-Origin" not in reply
    assert "Origin" in reply["Vary"]


async def test_preflights_are_answered_under_asgi_too(async_client: AsyncClient, settings: Any) -> None:
    settings.CORS_ORIGINS = ["https://app.example"]
    reply = await async_client.options("/who/", headers=PREFLIGHT)
    assert reply.status_code == 204
