"""Quotas as people meet them: refusals in every API's form, what /api/usage/ and the pages tell, and where limits are set."""

import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client

from api.access.models import ApiKey
from api.access.services import create_key
from api.files.models import StoredFile
from api.jobs.lifecycle import cancel_job, end_job
from api.jobs.models import DailyUse, Job
from api.jobs.states import Status
from api.metric_definitions import quota_refusals, take_grown
from api.system.ended_job_counts import count_ended_jobs
from tests.api.bodies import png, text
from tests.system.conftest import bearer
from tests.walks import check_each

pytestmark = pytest.mark.django_db(transaction=True)
LAKE = {"prompt": "a lake"}


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


class Caller:
    """Requests with a key of its own, on another machine."""

    def __init__(self, *scopes: str, **quotas: int | None) -> None:
        self.key, self.token = create_key(name="a client", scopes=scopes or None, quotas=quotas)
        self.client = Client(REMOTE_ADDR="192.0.2.7")

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        sent = {**bearer(self.token), "Prefer": "respond-async", **headers}
        return self.client.post(path, json.dumps(body), content_type="application/json", headers=sent)

    def usage(self, **query: str) -> Any:
        return self.client.get("/api/usage/", query, headers=bearer(self.token))

    def quotas(self) -> dict[str, list[int]]:
        found = self.usage().json()["results"][0]["quotas"]
        return {one["name"]: [one["limit"], one["used"], one["reserved"], one["remaining"]] for one in found}


def end(job: Job) -> None:
    """As a worker does it that has made one picture of 10 × 20 pixels and 30 bytes."""
    job.count_picture(10, 20, 30)
    end_job(job, Status.SUCCEEDED, None, from_status=Status.QUEUED, result={})


# ---------------------------------------------------------------- refusals


MCP_CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "make_picture", "arguments": LAKE}}
REFUSALS: dict[str, tuple[dict[str, Any], Any]] = {
    "/api/txt2img/": (LAKE, lambda body: (body["code"], body["status"], body["detail"])),
    "/v1/images/generations": (LAKE, lambda body: (body["error"]["code"], body["error"]["type"], body["error"]["message"])),
    "/sdapi/v1/txt2img": (LAKE, lambda body: (body["error"], body["errors"], body["detail"])),
    "/hf/text-to-image": ({"inputs": "a lake"}, lambda body: (body["error_type"], 429, body["error"])),
    "/generate": (LAKE, lambda body: (429, 429, body.get("detail") or body.get("error"))),
}
WORDS = (
    "The limit pictures_per_month of your key is 1, of which 0 are used and 1 reserved by jobs under way; this asks for 1 more."
)


def test_every_api_says_it_in_its_own_form() -> None:
    caller = Caller(pictures_per_month=1)
    assert caller.post("/api/txt2img/", LAKE).status_code == 202

    def check(path: str, sent: tuple[dict[str, Any], Any]) -> None:
        reply = caller.post(path, sent[0])
        assert reply.status_code == 429, reply.content
        code, kind, words = sent[1](reply.json())
        assert words.startswith(WORDS), words
        assert 0 < int(reply["Retry-After"]) <= 31 * 86_400
        known = {"/api/txt2img/": ("quota_exceeded", 429), "/v1/images/generations": ("insufficient_quota",) * 2,
                 "/hf/text-to-image": ("quota_exceeded", 429)}  # fmt: skip
        assert path not in known or (code, kind) == known[path]

    check_each(REFUSALS.items(), check)
    assert caller.post("/v1/images/generations", LAKE)["x-should-retry"] == "false"
    assert Job.objects.count() == 1


async def test_mcp_tells_the_assistant() -> None:
    caller = await sync_to_async(Caller)(jobs_per_day=0)
    sent = {**bearer(caller.token), "Accept": "application/json, text/event-stream"}
    reply = await AsyncClient().post("/mcp", json.dumps(MCP_CALL), content_type="application/json", headers=sent)
    assert reply.status_code == 200
    body = b"".join([part async for part in reply]) if reply.streaming else reply.content
    assert b'"isError":true' in body.replace(b" ", b"")
    assert b"the limit jobs_per_day of your key is 0" in body


def test_a_grid_counts_its_cells_and_itself() -> None:
    caller = Caller(pictures_per_day=4, jobs_per_day=4)
    grid = {"request": LAKE, "axes": [{"field": "seed", "values": [1, 2, 3, 4]}]}
    reply = caller.post("/api/grids/", grid)
    assert (reply.status_code, reply.json()["code"]) == (429, "quota_exceeded")
    assert "This asks for 5, " in reply.json()["detail"]
    grid["axes"][0]["values"].pop()  # type: ignore[index]
    assert caller.post("/api/grids/", grid).status_code == 202
    assert caller.quotas() == {"jobs_per_day": [4, 0, 4, 0], "pictures_per_day": [4, 0, 4, 0]}


def test_pictures_are_expected_in_the_size_that_they_will_have() -> None:
    caller = Caller(pixels_per_day=10**9)
    upload = text(png())  # 32 × 32
    asked: list[tuple[str, dict[str, Any], int]] = [
        ("/api/txt2img/", {**LAKE, "width": 64, "height": 128, "num_images": 2, "best_of": 5}, 2 * 64 * 128),
        ("/api/txt2img/", {**LAKE, "width": 64, "height": 64, "hires": {"scale": 2}}, 128 * 128),
        ("/api/txt2img/", {**LAKE, "width": 64, "height": 64, "upscale": {"scale": 3}}, 192 * 192),
        ("/api/img2img/", {**LAKE, "image": upload, "outpaint": {"left": 32}, "width": 64, "height": 64}, 64 * 32),
        ("/api/upscale/", {"image": upload, "scale": 4}, 128 * 128),
        ("/api/upscale/", {"image": upload, "width": 50, "height": 40}, 50 * 40),
        ("/api/preprocess/", {"image": upload, "kind": "canny"}, 32 * 32),
        ("/api/cutout/", {"image": upload}, 32 * 32),
        ("/api/detect/", {"image": upload, "annotate": True}, 32 * 32),
        ("/api/detect/", {"image": upload}, 0),
        ("/api/score/", {"image": upload}, 32 * 32),
        ("/api/clip-score/", {"images": [upload], "prompts": ["a lake"]}, 0),
    ]

    def check(path: str, body: dict[str, Any], pixels: int) -> None:
        Job.objects.all().delete()
        reply = caller.post(path, body)
        assert reply.status_code == 202, reply.content
        assert caller.quotas() == {"pixels_per_day": [10**9, 0, pixels, 10**9 - pixels]}

    check_each(asked, check)


# ---------------------------------------------------------------- what is kept


def test_an_upload_that_is_more_than_may_be_kept_is_refused_and_what_is_deleted_makes_room() -> None:
    caller = Caller(stored_bytes=5000)
    assert caller.post("/api/images/", {"image": text(png(1))}).status_code == 201
    reply = caller.post("/api/images/", {"image": text(png(2))})
    assert (reply.status_code, reply.json()["code"]) == (429, "quota_exceeded"), reply.content
    assert "Delete some pictures or uploads." in reply.json()["detail"]
    assert caller.post("/api/images/", {"image": text(png(1))}).status_code == 201  # is here already
    assert caller.usage().json()["results"][0]["stored_bytes"] == StoredFile.objects.get().size
    StoredFile.objects.get().delete()
    assert caller.post("/api/images/", {"image": text(png(2))}).status_code == 201


def test_a_picture_that_is_sent_with_a_request_is_kept_too() -> None:
    caller = Caller(stored_bytes=100)
    reply = caller.post("/api/upscale/", {"image": text(png())})
    assert (reply.status_code, reply.json()["code"]) == (429, "quota_exceeded"), reply.content
    assert not Job.objects.exists()


# ---------------------------------------------------------------- GET /api/usage/


def test_use_is_told_before_and_after_it_is_counted() -> None:
    caller = Caller(pictures_per_day=5, stored_bytes=None)
    for _ in range(3):
        caller.post("/api/txt2img/", LAKE)
    first, second, _ = Job.objects.order_by("pk")
    end(first)
    cancel_job(job=second)
    for _ in range(2):
        found = caller.usage().json()["results"][0]
        assert found["key"] == caller.key.prefix
        assert found["today"] == found["this_month"] == {"jobs": 1, "pictures": 1, "pixels": 200, "bytes": 30}
        assert found["reserved"] == {"jobs": 1, "pictures": 1, "pixels": 128 * 128, "bytes": 4 * 128 * 128}
        [quota] = found["quotas"]
        assert (quota["limit"], quota["used"], quota["reserved"], quota["remaining"]) == (5, 1, 1, 3)
        assert quota["free_at"].endswith("T00:00:00Z")
        Job.objects.filter(pk__in=[first.pk, second.pk]).delete()
        count_ended_jobs()
    assert DailyUse.objects.get().pictures == 1


def test_others_use_is_for_staff() -> None:
    caller, chief = Caller(pictures_per_day=5), Caller("staff")
    assert caller.usage(key=caller.key.prefix).status_code == 200
    assert caller.usage(key=chief.key.prefix).status_code == 403
    assert caller.usage(key="all").status_code == 403
    assert [one["key"] for one in chief.usage().json()["results"]] == [chief.key.prefix]
    assert [one["key"] for one in chief.usage(key=caller.key.prefix).json()["results"]] == [caller.key.prefix]
    both = sorted([caller.key.prefix, chief.key.prefix])
    assert [one["key"] for one in chief.usage(key="all").json()["results"]] == both
    assert [one["key"] for one in chief.usage(key="all", after=both[0]).json()["results"]] == both[1:]
    assert chief.usage(key="nobody").status_code == 400
    assert chief.usage(kee="all").status_code == 400


def test_this_machine_without_a_key_has_use_and_no_limits(client: Client) -> None:
    found = client.get("/api/usage/").json()["results"]
    assert [(one["key"], one["quotas"]) for one in found] == [("local", [])]


def test_refusals_are_counted() -> None:
    take_grown()
    Caller(jobs_per_day=0).post("/api/txt2img/", LAKE)
    assert take_grown()[quota_refusals.name, ("jobs_per_day",), ""] == 1


# ---------------------------------------------------------------- where limits are set


def test_the_command_sets_limits(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_key", "fleet", "--limit", "pictures_per_day=100", "--limit", "stored_bytes=10G")
    assert ApiKey.objects.get().quotas == {"pictures_per_day": 100, "stored_bytes": 10 * 2**30}
    with pytest.raises(CommandError, match="'pictures=1' is no limit"):
        call_command("create_key", "fleet", "--limit", "pictures=1")


def test_the_admin_sets_limits_and_shows_use(admin_client: Client) -> None:
    fields = {"name": "fleet", "scopes": ["read"], "weight": 1, "pictures_per_day": "1.5k", "stored_bytes": "10G"}
    admin_client.post("/admin/access/apikey/add/", {**fields, "jobs_per_day": "none"})
    key = ApiKey.objects.get()
    assert key.quotas == {"jobs_per_day": None, "pictures_per_day": 1500, "stored_bytes": 10 * 2**30}
    address = f"/admin/access/apikey/{key.pk}/change/"
    page = admin_client.get(address).content.decode()
    assert 'value="1500"' in page
    assert 'value="none"' in page
    assert "1,500" in page  # among what it has used
    refused = admin_client.post(address, {**fields, "pictures_per_day": "many"}).content.decode()
    assert "pictures_per_day is a whole number from 0 on" in refused
    admin_client.post(address, {**fields, "pictures_per_day": ""})
    key.refresh_from_db()
    assert key.quotas == {"stored_bytes": 10 * 2**30}


# ---------------------------------------------------------------- the page


def logged_in(caller: Caller) -> Client:
    browser = Client(REMOTE_ADDR="192.0.2.7")
    browser.post("/studio/login", {"key": caller.token})
    return browser


def test_the_page_shows_ones_own_and_staff_all() -> None:
    caller, chief = Caller(pictures_per_day=4, pixels_per_month=10_000_000, stored_bytes=2**30), Caller("staff")
    for _ in range(3):
        caller.post("/api/txt2img/", LAKE)
    end(Job.objects.order_by("pk")[0])
    page = logged_in(caller).get("/studio/usage/").content.decode()
    for words in ("Pictures a day", "1 of 4", "2 reserved by jobs under way", "10.0 million", "1.0\xa0GB", 'value="75"', "UTC"):
        assert words in page, words
    assert "All keys" not in page
    assert "<h1>Usage</h1>" in logged_in(caller).get(f"/studio/usage/?key={chief.key.prefix}").content.decode()
    everybody = logged_in(chief).get("/studio/usage/").content.decode()
    assert f"?key={caller.key.prefix}" in everybody
    assert "Pictures a day: 75&nbsp;%" in everybody
    one = logged_in(chief).get(f"/studio/usage/?key={caller.key.prefix}").content.decode()
    assert f"/admin/access/apikey/{caller.key.pk}/change/" in one
    assert logged_in(chief).get("/studio/usage/?key=nobody").status_code == 404
