"""Logging in with a key or an account: what a session is, how it ends, and what it may do at every address of the studio."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from api.access.models import ApiKey
from api.access.password_attempts import MOST_OF_ADDRESS
from api.access.services import create_key, revoke_key
from api.images.models import GeneratedImage
from api.jobs.models import Job
from tests.rows import make_job, make_picture
from tests.studio.conftest import OUTSIDE
from tests.system.test_every_address_is_closed import addresses

pytestmark = pytest.mark.django_db
LOGIN, PASSWORD, PART = "/studio/login", "the owner's password", {"HX-Request": "true"}
ERROR = {"code": "out_of_memory", "status": 507, "detail": "Too large."}
REFUSED = "unknown, expired or revoked"


def browser_of(token: str, *, peer: str = OUTSIDE, **options: Any) -> Client:
    """A browser on another machine that has logged in with the key."""
    browser = Client(REMOTE_ADDR=peer, **options)
    assert browser.post(LOGIN, {"key": token}).status_code == 302
    return browser


def picture_of(owner: str) -> GeneratedImage:
    return make_picture(make_job(owner_key=owner))


@pytest.fixture
def reader(db: None) -> Client:
    return browser_of(create_key(name="a reader", scopes=["read"])[1])


# ---------------------------------------------------------------- a key


def test_a_key_logs_in_and_the_pages_are_those_of_its_owner(stranger: Client) -> None:
    key, token = create_key(name="the painter", max_active_jobs=1)
    mine, other = picture_of(key.prefix), picture_of("another")
    reply = stranger.post(LOGIN, {"key": f" {token} ", "next": "/studio/gallery/?q=a"})
    assert (reply.status_code, reply["Location"]) == (302, "/studio/gallery/?q=a")
    page = stranger.get("/studio/gallery/").content.decode()
    assert str(mine.pk) in page
    assert str(other.pk) not in page
    assert "the painter" in page
    for part in ("file", "thumbnail"):  # as an <img> asks for it
        assert stranger.get(f"/api/images/{mine.pk}/{part}/").status_code == 200
        assert stranger.get(f"/api/images/{other.pk}/{part}/").status_code == 404
    for _ in range(2):
        stranger.post("/studio/generate", {"prompt": "a lake"}, headers=PART)
    assert Job.objects.filter(status="queued").values_list("owner_key").get() == (key.prefix,)  # its quota holds


def test_the_session_is_new_and_holds_nothing_that_opens_the_api(stranger: Client) -> None:
    _, token = create_key(name="x")
    stranger.get(LOGIN)
    session = stranger.session
    session["planted"] = "before"
    session.save()
    before, csrf = session.session_key, stranger.cookies["csrftoken"].value
    stranger.post(LOGIN, {"key": token})
    assert stranger.session.session_key != before
    assert stranger.cookies["csrftoken"].value != csrf
    assert not Session.objects.filter(pk=before).exists()
    held = dict(stranger.session.items())
    assert "planted" not in held
    assert token.split("_", 2)[2] not in str(held)
    assert ApiKey.objects.get(name="x").secret_hash not in str(held)


def wrong_tokens() -> Iterator[str]:
    key, token = create_key(name="x")
    yield f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}"
    yield f"drk_aaaaaaaa_{token.split('_', 2)[2]}"
    yield "nonsense\x00"
    yield ""
    yield create_key(name="old", expires_at=timezone.now() - timedelta(days=1))[1]
    revoke_key(key)
    yield token


def test_whatever_is_wrong_with_a_key_the_sentence_is_the_same(stranger: Client) -> None:
    for token in wrong_tokens():
        page = stranger.post(LOGIN, {"key": token, "next": "/studio/gallery/"}).content.decode()
        assert REFUSED in page, token
        assert 'name="next" value="/studio/gallery/"' in page
        assert stranger.get("/").status_code == 302
    submit_only = create_key(name="blind", scopes=["submit"])[1]
    assert "lacks the scope “read”" in stranger.post(LOGIN, {"key": submit_only}).content.decode()


@pytest.mark.parametrize("change", ["revoked", "expired", "scopes", "secret"])
def test_a_session_ends_with_what_its_key_was(stranger: Client, change: str) -> None:
    """At every address, from the next request on; and it does not come back where the change is taken back."""
    key, token = create_key(name="x", scopes=["read", "submit"])
    picture, browser = picture_of(key.prefix), browser_of(token)
    assert browser.get("/").status_code == 200
    fields = {
        "revoked": {"revoked_at": timezone.now()},
        "expired": {"expires_at": timezone.now()},
        "scopes": {"scopes": ["read"]},
        "secret": {"secret_hash": "0" * 64},
    }[change]
    was = {name: getattr(key, name) for name in fields}
    ApiKey.objects.filter(pk=key.pk).update(**fields)
    assert browser.get("/studio/queue/?state=failed")["Location"] == "/studio/login?next=%2Fstudio%2Fqueue%2F%3Fstate%3Dfailed"
    ApiKey.objects.filter(pk=key.pk).update(**was)
    assert browser.post("/studio/generate", {"prompt": "a lake"}, headers=PART)["HX-Redirect"] == "/studio/login?next=%2F"
    assert browser.get(f"/api/images/{picture.pk}/file/").status_code == 401
    assert Job.objects.filter(status="queued").count() == 0


def test_a_session_goes_on_where_its_key_is_renamed_or_weighed_anew() -> None:
    key, token = create_key(name="before")
    browser = browser_of(token)
    ApiKey.objects.filter(pk=key.pk).update(name="after", weight=3, max_active_jobs=7)
    assert "after" in browser.get("/").content.decode()


def test_logging_out_ends_it(reader: Client) -> None:
    cookie = reader.cookies["sessionid"].value
    assert reader.get("/studio/logout").status_code == 405
    assert reader.post("/studio/logout")["Location"] == LOGIN
    reader.cookies["sessionid"] = cookie
    assert reader.get("/").status_code == 302


# ---------------------------------------------------------------- where it leads


@pytest.mark.parametrize(
    "after", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/studio/login", "", "\x00"]
)
def test_it_leads_nowhere_else(stranger: Client, after: str) -> None:
    token = create_key(name="x")[1]
    assert stranger.post(LOGIN, {"key": token, "next": after})["Location"] == "/"


def test_who_is_somebody_already_is_led_on(reader: Client, here: Client) -> None:
    assert reader.get(f"{LOGIN}?next=/studio/queue/")["Location"] == "/studio/queue/"
    ApiKey.objects.all().delete()
    assert here.get(LOGIN)["Location"] == "/"  # this machine itself, where there is no key: no log-in shows at all
    page = here.get("/").content.decode()
    assert "Log out" not in page
    assert LOGIN not in page


# ---------------------------------------------------------------- an account


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_superuser("owner", password=PASSWORD)


def guess(browser: Client, password: str, address: str = LOGIN, name: str = "owner") -> Any:
    return browser.post(address, {"username": name, "password": password})


def test_an_account_of_the_admin_logs_in_and_sees_the_way_there(stranger: Client, owner: User) -> None:
    assert guess(stranger, PASSWORD)["Location"] == "/"
    page = stranger.get("/studio/queue/").content.decode()
    assert 'href="/admin/"' in page
    assert "Logged in as owner" in page
    User.objects.create_user("guest", password=PASSWORD)
    other = Client(REMOTE_ADDR=OUTSIDE)
    assert "correct username" in guess(other, PASSWORD, name="guest").content.decode()  # no staff


def test_no_page_shows_a_key_the_way_to_the_admin() -> None:
    key, token = create_key(name="chief", scopes=["staff"])
    picture, browser = picture_of(key.prefix), browser_of(token)
    for address in (
        "/",
        "/studio/gallery/",
        "/studio/queue/",
        f"/studio/images/{picture.pk}/",
        f"/studio/jobs/{picture.job_id}/",
    ):
        assert "/admin/" not in browser.get(address).content.decode(), address


def test_passwords_can_not_be_guessed_at_speed(stranger: Client, owner: User) -> None:
    for _ in range(MOST_OF_ADDRESS):
        assert guess(stranger, "wrong").status_code == 200
    refused = guess(stranger, PASSWORD)
    assert (refused.status_code, refused["Retry-After"]) == (429, "300")
    assert "Too many wrong passwords" in refused.content.decode()
    assert "Too many wrong passwords" in guess(stranger, PASSWORD, "/admin/login/").content.decode()
    assert stranger.get("/").status_code == 302
    assert guess(Client(REMOTE_ADDR="192.0.2.8"), PASSWORD).status_code == 302  # nobody locks the owner out from elsewhere
    assert stranger.post(LOGIN, {"key": create_key(name="x")[1]}).status_code == 302  # a key can't be guessed


def test_a_log_in_takes_the_place_of_the_one_before(stranger: Client, owner: User) -> None:
    """A key after an account is the key; an account after a key (in the admin) is the account."""
    _, token = create_key(name="x")
    guess(stranger, PASSWORD)
    stranger.post("/studio/logout")
    stranger.post(LOGIN, {"key": token})
    assert "/admin/" not in stranger.get("/").content.decode()
    guess(stranger, PASSWORD, "/admin/login/")
    stranger.post("/studio/generate", {"prompt": "a lake"}, headers=PART)
    assert Job.objects.get().owner_key == f"user:{owner.pk}"


# ---------------------------------------------------------------- other sites, and the API


def test_a_form_without_the_token_does_nothing() -> None:
    token = create_key(name="x")[1]
    browser = Client(REMOTE_ADDR=OUTSIDE, enforce_csrf_checks=True)
    assert browser.post(LOGIN, {"key": token}).status_code == 403
    browser.get(LOGIN)
    csrf = browser.cookies["csrftoken"].value
    assert browser.post(LOGIN, {"key": token, "csrfmiddlewaretoken": csrf}).status_code == 302
    for address in ("/studio/generate", "/studio/logout", "/studio/gallery/change"):
        assert browser.post(address, {"prompt": "a lake"}).status_code == 403
    assert not Job.objects.exists()
    fresh = {"X-CSRFToken": browser.cookies["csrftoken"].value}
    assert browser.post("/studio/generate", {"prompt": "a lake"}, headers={**PART, **fresh}).status_code == 200


@pytest.mark.parametrize(
    "address", ["/api/txt2img/", "/v1/images/generations", "/sdapi/v1/txt2img", "/hf/text-to-image", "/generate"]
)
def test_a_session_is_no_key_for_the_api(address: str) -> None:
    """It may look, as an <img> does; what changes anything needs the key itself, whatever token a page brings."""
    browser = browser_of(create_key(name="x")[1])
    headers = {"X-CSRFToken": browser.cookies["csrftoken"].value}
    assert browser.post(address, {"prompt": "a lake"}, "application/json", headers=headers).status_code == 401
    assert browser.get("/api/jobs/").status_code == 200
    assert not Job.objects.exists()


def test_a_listed_origin_may_not_use_the_session(settings: Any) -> None:
    """Cookies don't stop at a port: a page of another server on the same host would act for the person."""
    settings.CORS_ORIGINS = settings.CSRF_TRUSTED_ORIGINS = ["http://testserver:3000"]
    token = create_key(name="x")[1]
    browser, origin = browser_of(token), {"Origin": "http://testserver:3000"}
    assert browser.get("/api/jobs/", headers=origin).status_code == 401
    assert browser.post("/studio/generate", {"prompt": "a lake"}, headers={**PART, **origin}).headers["HX-Redirect"]
    assert browser.get("/api/jobs/", headers={**origin, "Authorization": f"Bearer {token}"}).status_code == 200
    assert not Job.objects.exists()


# ---------------------------------------------------------------- every address of the studio

STUDIO = [address for address in addresses() if address == "/" or address.startswith("/studio/")]
READ_POSTS = (
    "/studio/read-picture",
    "/studio/tokens",
    "/studio/variants/",
    "/studio/variants/estimate",
    "/studio/edit/steering",
    "/dismiss",
)
"""What a key that may only look may send: nothing of it changes anything but the session."""
OPEN_POSTS = (LOGIN, "/studio/logout", "/studio/language")


def leads_to_login(reply: Any) -> bool:
    return str(reply.headers.get("Location", reply.headers.get("HX-Redirect", ""))).startswith(LOGIN)


@pytest.mark.django_db(transaction=True)  # the stream looks from a thread of its own
def test_a_stranger_gets_no_further_than_the_log_in(stranger: Client) -> None:
    job = make_job("failed")
    for address in STUDIO:
        for headers in ({}, PART):
            looked, sent = stranger.get(address, headers=headers), stranger.post(address, headers=headers)
            if address in (LOGIN, "/studio/language"):
                continue
            assert leads_to_login(looked) or looked.status_code in (401, 405), address
            assert leads_to_login(sent) or sent.status_code == 405, address
    assert list(Job.objects.all()) == [job]


@pytest.mark.django_db(transaction=True)
def test_a_key_that_may_only_look_sees_every_page_and_changes_nothing(reader: Client) -> None:
    key = ApiKey.objects.get(name="a reader")
    picture, failed = picture_of(key.prefix), make_job("failed", owner_key=key.prefix, error=ERROR)
    running = make_job("queued", owner_key=key.prefix)
    before = [list(model.objects.order_by("pk").values()) for model in (Job, GeneratedImage)]
    for address in (address for address in STUDIO if address not in OPEN_POSTS):
        for row in (picture.pk, failed.pk, running.pk):
            real = address.replace("0197c0de-0000-7000-8000-000000000000", str(row))
            looked, sent = reader.get(real), reader.post(real, {"prompt": "a lake", "ids": str(row), "action": "delete"})
            assert looked.status_code in (200, 302, 404, 405), real
            assert not leads_to_login(looked), real
            if real.endswith(READ_POSTS):
                continue
            assert sent.status_code in (403, 405), real
            assert sent.status_code == 405 or "scope “s" in sent.content.decode(), real
    assert before == [list(model.objects.order_by("pk").values()) for model in (Job, GeneratedImage)]


@pytest.mark.django_db(transaction=True)
def test_nobody_reaches_anothers_rows() -> None:
    picture, failed = picture_of("another"), make_job("failed", owner_key="another", error=ERROR)
    browser = browser_of(create_key(name="x")[1])
    for address in STUDIO:
        for row in (picture.pk, picture.job_id, failed.pk):
            real = address.replace("0197c0de-0000-7000-8000-000000000000", str(row))
            if real != address and not real.endswith("/dismiss"):
                looked, sent = browser.get(real), browser.post(real, {"action": "delete"})
                assert {looked.status_code, sent.status_code} <= {404, 405} or not looked.content, real
    sent = browser.post("/studio/gallery/change", {"ids": str(picture.pk), "action": "delete"}, headers=PART)
    assert sent.json()["images"] == []
    assert Job.objects.count() == 2
    assert GeneratedImage.objects.count() == 1
