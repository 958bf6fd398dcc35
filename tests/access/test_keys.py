"""The keys themselves: what is kept of them, and how they are made."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.access.models import ApiKey
from api.access.principals import visible_to
from api.access.scopes import LOCAL, Principal
from api.access.services import authenticate_token, create_key, revoke_key
from api.access.tokens import parse_token
from api.files.models import StoredFile

pytestmark = pytest.mark.django_db


def test_a_token_has_the_form_that_the_api_names() -> None:
    key, token = create_key(name="x")
    parts = parse_token(token)
    assert parts is not None
    assert token == f"drk_{key.prefix}_{parts.secret}"
    assert len(parts.secret) == 43  # 32 bytes in base64


def test_the_secret_is_nowhere_in_the_row() -> None:
    key, token = create_key(name="x")
    secret = token.split("_", 2)[2]
    assert not any(secret in str(value) for value in ApiKey.objects.filter(pk=key.pk).values_list()[0])


def test_a_thousand_secrets_differ() -> None:
    from api.access.tokens import make_secret

    assert len({make_secret() for _ in range(1000)}) == 1000


def test_an_unknown_scope_makes_no_key() -> None:
    with pytest.raises(ValueError, match="read, submit, staff"):
        create_key(name="x", scopes=["root"])
    assert not ApiKey.objects.exists()


def test_the_quota_travels_with_the_principal() -> None:
    _, token = create_key(name="x", max_active_jobs=3)
    assert authenticate_token(token).limits.max_active_jobs == 3


def test_the_last_use_is_noted() -> None:
    key, token = create_key(name="x")
    authenticate_token(token)
    key.refresh_from_db()
    assert key.last_used_at is not None


def test_the_last_use_is_written_once_a_minute_at_most() -> None:
    _, token = create_key(name="x")
    authenticate_token(token)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        authenticate_token(token)
    assert [query["sql"][:6] for query in queries] == ["SELECT"]


def test_the_last_use_is_written_again_after_a_minute() -> None:
    key, token = create_key(name="x")
    before = timezone.now() - timedelta(seconds=61)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=before)
    authenticate_token(token)
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.last_used_at > before


def test_a_key_is_revoked_once() -> None:
    key, _ = create_key(name="x")
    assert revoke_key(key)
    assert not revoke_key(key)


def test_owners_see_their_own_and_staff_sees_all() -> None:
    for owner in ("a", "b"):
        StoredFile.objects.create(
            owner_key=owner, purpose="upload", name=owner, sha256="", content_type="image/png", size=1, width=1, height=1
        )
    mine = visible_to(Principal("a", frozenset({"read"})), StoredFile.objects.all())
    assert [file.owner_key for file in mine] == ["a"]
    assert visible_to(LOCAL, StoredFile.objects.all()).count() == 2


# manage.py create_key


def run_command(*arguments: str) -> str:
    output = StringIO()
    call_command("create_key", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue().strip()


def test_the_command_prints_a_token_that_works_and_nothing_else_on_stdout() -> None:
    assert authenticate_token(run_command("laptop")).scopes == {"read", "submit"}


def test_the_command_takes_scopes_expiry_and_quota() -> None:
    run_command("laptop", "--scope", "read", "--scope", "staff", "--expires", "30", "--quota", "5", "--weight", "3")
    key = ApiKey.objects.get()
    assert key.scopes == ["read", "staff"]
    assert (key.max_active_jobs, key.weight) == (5, 3)
    assert key.expires_at is not None
    assert timedelta(days=29, hours=23) < key.expires_at - timezone.now() < timedelta(days=30)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--scope", "root"),
        ("--expires", "0"),
        ("--quota", "-1"),
        ("--weight", "0"),
        ("--weight", "1001"),
        ("--expires", "1e3"),
        ("--expires", "9999999"),
    ],
)
def test_the_command_refuses_wrong_values(wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError):
        run_command("laptop", *wrong)


def test_the_command_can_be_told_to_make_the_first_key_only() -> None:
    assert run_command("first", "--if-none")
    assert run_command("second", "--if-none") == ""
    assert [key.name for key in ApiKey.objects.all()] == ["first"]


def test_a_weight_is_at_least_one() -> None:
    for weight in (0, -1, 1001):
        with pytest.raises(ValueError, match="1 to 1000"):
            create_key(name="x", weight=weight)


# The admin


def add_key(client: Any, **fields: Any) -> Any:
    data = {"name": "from the admin", "scopes": ["read"], "weight": 1, **fields}
    return client.post("/admin/access/apikey/add/", data, follow=True)


def test_the_admin_shows_a_new_token_once(admin_client: Any) -> None:
    page = add_key(admin_client).content.decode()
    token = page.split("<code>")[1].split("</code>")[0]
    assert authenticate_token(token).scopes == {"read"}
    key = ApiKey.objects.get()
    again = admin_client.get(f"/admin/access/apikey/{key.pk}/change/").content.decode()
    assert token.split("_", 2)[2] not in again
    assert key.secret_hash not in again


def test_the_admin_edits_a_key_without_touching_its_secret(admin_client: Any) -> None:
    key, token = create_key(name="before")
    admin_client.post(f"/admin/access/apikey/{key.pk}/change/", {"name": "after", "scopes": ["read", "staff"], "weight": 2})
    key.refresh_from_db()
    assert (key.name, key.scopes, key.weight) == ("after", ["read", "staff"], 2)
    assert authenticate_token(token).is_staff


def test_the_admin_wants_at_least_one_scope(admin_client: Any) -> None:
    admin_client.post("/admin/access/apikey/add/", {"name": "none", "weight": 1})
    assert not ApiKey.objects.exists()


def test_the_admin_revokes(admin_client: Any) -> None:
    key, _ = create_key(name="x")
    admin_client.post("/admin/access/apikey/", {"action": "revoke", "_selected_action": [str(key.pk)]})
    key.refresh_from_db()
    assert key.revoked_at is not None


@pytest.mark.parametrize(("state", "expected"), [("active", ["good"]), ("expired", ["old"]), ("revoked", ["gone"])])
def test_the_admin_lists_keys_by_state(admin_client: Any, state: str, expected: list[str]) -> None:
    create_key(name="good")
    create_key(name="old", expires_at=timezone.now() - timedelta(days=1))
    revoke_key(create_key(name="gone")[0])
    page = admin_client.get(f"/admin/access/apikey/?state={state}")
    assert [key.name for key in page.context["cl"].result_list] == expected


def test_the_admin_offers_no_deletion_of_keys(admin_client: Any) -> None:
    key, _ = create_key(name="x")
    assert "/delete/" not in admin_client.get(f"/admin/access/apikey/{key.pk}/change/").content.decode()
    assert "delete_selected" not in admin_client.get("/admin/access/apikey/").content.decode()
