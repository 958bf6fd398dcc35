"""Who a request comes from: API.md, 'Access'."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import DisallowedHost
from django.utils import timezone
from rest_framework.exceptions import NotAuthenticated, PermissionDenied

from api.access.principals import aprincipal_of, principal_of
from api.access.scopes import LOCAL
from api.access.services import create_key, revoke_key
from tests.access.conftest import Make, basic, bearer

pytestmark = pytest.mark.django_db
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
NOT_LOOPBACK = ["203.0.113.9", "10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "", "localhost", "/run/app.sock"]
FORWARDED = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Anything",
    "X-Real-IP",
    "Via",
]


@pytest.mark.parametrize("peer", LOOPBACK)
def test_without_a_key_the_machine_itself_is_let_in_as_staff(make_request: Make, peer: str) -> None:
    principal = principal_of(make_request(peer=peer))
    assert principal == LOCAL
    assert principal.owner_key == "local"
    assert principal.is_staff


@pytest.mark.parametrize("peer", NOT_LOOPBACK)
def test_without_a_key_every_other_peer_is_told_of_create_key(make_request: Make, peer: str) -> None:
    with pytest.raises(NotAuthenticated, match="create_key"):
        principal_of(make_request(peer=peer))


def test_a_request_without_any_peer_is_not_local(make_request: Make) -> None:
    request = make_request()
    del request.META["REMOTE_ADDR"]
    with pytest.raises(NotAuthenticated):
        principal_of(request)


@pytest.mark.parametrize("header", FORWARDED)
def test_a_proxy_on_this_machine_is_not_this_machine(make_request: Make, header: str) -> None:
    with pytest.raises(NotAuthenticated, match="create_key"):
        principal_of(make_request(peer="127.0.0.1", headers={header: "127.0.0.1"}))


@pytest.mark.parametrize("authorization", ["Bearer sk-anything", "Bearer drk_aaaaaaaa_" + "x" * 43, "Basic dTpw", "nonsense"])
def test_without_a_key_an_authorization_header_is_ignored(make_request: Make, authorization: str) -> None:
    assert principal_of(make_request(peer="127.0.0.1", headers={"Authorization": authorization})) == LOCAL


def test_once_a_key_exists_the_machine_itself_needs_one(make_request: Make, token: str) -> None:
    with pytest.raises(NotAuthenticated, match="create_key"):
        principal_of(make_request(peer="127.0.0.1"))


def test_a_key_opens_from_anywhere(make_request: Make, token: str) -> None:
    principal = principal_of(make_request(headers=bearer(token)))
    assert principal.owner_key == token.split("_")[1]
    assert principal.scopes == {"read", "submit"}


def test_the_scheme_is_read_in_any_case(make_request: Make, token: str) -> None:
    assert principal_of(make_request(headers={"Authorization": f"bearer  {token} "})).key_id


@pytest.mark.parametrize("name", ["anyone", "", "a name with ä"])
def test_a_key_is_basics_password_whatever_the_name(make_request: Make, token: str, name: str) -> None:
    assert principal_of(make_request(headers=basic(token, name))) == principal_of(make_request(headers=bearer(token)))


def test_basics_scheme_is_read_in_any_case(make_request: Make, token: str) -> None:
    credentials = basic(token)["Authorization"].partition(" ")[2]
    assert principal_of(make_request(headers={"Authorization": f"bASIC  {credentials} "})).key_id


@pytest.mark.parametrize(
    "credentials", ["", "drk_", "é", "====", "bm8gY29sb24=", "//79", "dXNlcjo=", "dXNlcjpwYXNz", "a" * 100_000]
)
def test_what_is_no_key_in_basic_is_refused(make_request: Make, token: str, credentials: str) -> None:
    with pytest.raises(NotAuthenticated, match="unknown, expired or revoked"):
        principal_of(make_request(peer="127.0.0.1", headers={"Authorization": f"Basic {credentials}"}))


def test_a_key_is_not_basics_name(make_request: Make, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        principal_of(make_request(headers=basic("", token)))


def test_a_key_in_basic_without_its_scope_is_refused_by_name(make_request: Make) -> None:
    _, token = create_key(name="reader", scopes=["read"])
    with pytest.raises(PermissionDenied, match="'submit'"):
        principal_of(make_request(headers=basic(token)), scope="submit")


def test_a_foreign_origin_is_refused_with_basic_too(make_request: Make, token: str) -> None:
    with pytest.raises(PermissionDenied, match="origin"):
        principal_of(make_request("POST", headers={**basic(token), "Origin": "https://evil.example"}))


def test_a_key_works_behind_a_proxy(make_request: Make, token: str) -> None:
    assert principal_of(make_request(peer="127.0.0.1", headers={**bearer(token), "X-Forwarded-For": "203.0.113.9"})).key_id


def test_an_expired_key_is_refused_and_does_not_open_the_machine(make_request: Make) -> None:
    _, token = create_key(name="old", expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(NotAuthenticated, match="expired"):
        principal_of(make_request(peer="127.0.0.1", headers=bearer(token)))
    with pytest.raises(NotAuthenticated):
        principal_of(make_request(peer="127.0.0.1"))


def test_a_revoked_key_is_refused_from_the_next_request_on(make_request: Make, token: str) -> None:
    key, other = create_key(name="other")
    principal_of(make_request(headers=bearer(other)))
    revoke_key(key)
    with pytest.raises(NotAuthenticated, match="revoked"):
        principal_of(make_request(headers=bearer(other)))


def test_when_the_last_key_is_revoked_the_machine_is_open_again(make_request: Make) -> None:
    revoke_key(create_key(name="only")[0])
    assert principal_of(make_request(peer="127.0.0.1")) == LOCAL


WRONG = [
    "",
    "x",
    "drk_",
    "drk__",
    "drk_abcdefgh_short",
    "drk_ABCDEFGH_" + "x" * 43,
    "sk-proj-1",
    "drk_abcdefgh_" + "é" * 43,
    "a" * 100_000,
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_token_is_refused(make_request: Make, token: str, wrong: str) -> None:
    with pytest.raises(NotAuthenticated):
        principal_of(make_request(peer="127.0.0.1", headers={"Authorization": f"Bearer {wrong}"}))


def test_another_secret_under_a_true_prefix_is_refused(make_request: Make, token: str) -> None:
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    with pytest.raises(NotAuthenticated):
        principal_of(make_request(headers=bearer(forged)))


def test_a_principal_without_the_scope_is_refused_by_name(make_request: Make) -> None:
    _, token = create_key(name="reader", scopes=["read"])
    assert principal_of(make_request(headers=bearer(token)), scope="read")
    with pytest.raises(PermissionDenied, match="'submit'"):
        principal_of(make_request(headers=bearer(token)), scope="submit")


def test_staff_may_do_everything(make_request: Make) -> None:
    _, token = create_key(name="chief", scopes=["staff"])
    assert principal_of(make_request(headers=bearer(token)), scope="submit").is_staff


# Origins


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9000", "http://[", "file://", "ftp://localhost:8000"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused(make_request: Make, origin: str, method: str) -> None:
    with pytest.raises(PermissionDenied, match="origin"):
        principal_of(make_request(method, peer="127.0.0.1", headers={"Origin": origin}))


def test_a_foreign_origin_is_refused_with_a_key_too(make_request: Make, token: str) -> None:
    with pytest.raises(PermissionDenied):
        principal_of(make_request("POST", headers={**bearer(token), "Origin": "https://evil.example"}))


@pytest.mark.parametrize("origin", ["http://localhost:8000", "https://localhost:8000"])
def test_our_own_pages_are_let_in_with_or_without_tls_in_front(make_request: Make, origin: str) -> None:
    assert principal_of(make_request("POST", peer="127.0.0.1", headers={"Origin": origin})) == LOCAL


def test_a_listed_origin_is_let_in(make_request: Make, settings: Any) -> None:
    settings.CORS_ORIGINS = ["https://app.example"]
    assert principal_of(make_request("POST", peer="127.0.0.1", headers={"Origin": "https://app.example"})) == LOCAL


def test_a_foreign_name_that_resolves_to_this_machine_is_refused(make_request: Make) -> None:
    with pytest.raises(DisallowedHost):
        principal_of(make_request(peer="127.0.0.1", host="rebound.example:8000"))


# People who are logged in


def logged_in(request: Any, *, is_staff: bool = True) -> Any:
    request.user = User.objects.create_user("anna", is_staff=is_staff)
    return request


def test_a_staff_person_who_is_logged_in_may_look(make_request: Make, token: str) -> None:
    request = logged_in(make_request())
    assert principal_of(request).owner_key == f"user:{request.user.pk}"
    assert principal_of(request).is_staff


def test_a_logged_in_persons_cookie_alone_changes_nothing(make_request: Make, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        principal_of(logged_in(make_request("POST")))


def test_a_logged_in_person_may_act_where_the_csrf_check_has_passed(make_request: Make, token: str) -> None:
    request = logged_in(make_request("POST"))
    request.csrf_processing_done = True
    assert principal_of(request).is_staff


def test_a_logged_in_person_who_is_not_staff_is_nobody_here(make_request: Make, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        principal_of(logged_in(make_request(), is_staff=False))


def test_an_anonymous_session_is_nobody(make_request: Make, token: str) -> None:
    request = make_request()
    request.user = AnonymousUser()
    with pytest.raises(NotAuthenticated):
        principal_of(request)


def test_a_wrong_key_is_not_made_good_by_a_session(make_request: Make, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        principal_of(logged_in(make_request(headers=bearer("drk_wrong"))))


@pytest.mark.django_db(transaction=True)
async def test_an_async_view_asks_the_same_question(make_request: Make) -> None:
    assert await aprincipal_of(make_request(peer="127.0.0.1")) == LOCAL
