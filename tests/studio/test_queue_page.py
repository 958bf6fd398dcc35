"""The page of the queue and the machines: whose rows it shows, in which order, and what it costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.access.services import create_key
from api.jobs.identifiers import uuid7
from api.jobs.models import Job, Worker
from api.jobs.start_failures import record_start_failure
from api.system.spec import LoadModelSpec, UnloadModelSpec
from tests.rows import make_job
from tests.studio.conftest import OUTSIDE

pytestmark = pytest.mark.django_db
PAGE, ROWS, MACHINES, PART = "/studio/queue/", "/studio/queue/rows", "/studio/queue/machines", {"HX-Request": "true"}
GIB = 2**30
LOADS = [LoadModelSpec.kind, UnloadModelSpec.kind, "txt2img"]


def logged_in(name: str, *scopes: str) -> tuple[Client, str]:
    """A browser on another machine, and the prefix of its key."""
    key, token = create_key(name=name, scopes=scopes or None)
    browser = Client(REMOTE_ADDR=OUTSIDE)
    browser.post("/studio/login", {"key": token})
    return browser, key.prefix


def shown(browser: Client, address: str = ROWS, **query: str) -> str:
    reply = browser.get(address, query)
    assert reply.status_code == 200
    return reply.content.decode()


def make_worker(**fields: Any) -> Worker:
    device = {"type": "cuda", "index": 1, "name": "NVIDIA H200", "memory_total": 139 * GIB}
    known = {"device": device, "dtype": "float16", "memory": {"total": 100 * GIB, "available": 25 * GIB}}
    held = [{"id": "sdxl-base-1.0", "bytes": 7 * GIB}, {"id": "starter", "bytes": 3 * GIB}]
    defaults = {"hostname": "gpu-1", "pid": 7, "state": "busy", "kinds": LOADS, "device": known, "loaded_models": held}
    return Worker.objects.create(**{**defaults, **fields})


# ---------------------------------------------------------------- rows


def test_owners_see_their_own_and_staff_sees_all_with_their_names() -> None:
    (painter, mine), (chief, _) = logged_in("the painter"), logged_in("the chief", "staff")
    person = User.objects.create_user("anna")
    make_job("queued", owner_key=mine, prompt="a lake")
    make_job("queued", owner_key="another", prompt="somebody else's")
    make_job("queued", owner_key=f"user:{person.pk}", prompt="of a person")
    make_job("queued", owner_key="local", prompt="of the machine")
    page = shown(painter)
    assert "a lake" in page
    assert "somebody else" not in page
    assert "the painter" not in page  # only staff has a use for whose it is
    page = shown(chief)
    for words in ("a lake", "somebody else", "the painter", "anna", "this machine", "another"):
        assert words in page, words
    assert "a lake" not in shown(chief, whose="mine")


def test_rows_stand_in_the_order_of_their_turns_whoever_sees_them(here: Client) -> None:
    """The slots of two owners in turn; the higher priority takes its owner's first slot."""
    for place, (owner, prompt, priority) in enumerate(
        [("local", "third", 0), ("b", "second", 0), ("local", "first", 5), ("b", "fourth", 0)]
    ):
        make_job(
            "queued", owner_key=owner, prompt=prompt, priority=priority, virtual_start=float(place), owner_order=float(place)
        )
    make_job("queued", prompt="tried before", attempt=1, virtual_start=-1.0)
    page = shown(here)
    places = [page.index(f">{prompt}<") for prompt in ("first", "second", "third", "fourth", "tried before")]
    assert places == sorted(places)
    assert [words in page for words in ("next", "1 before it", "4 before it", "5 before it")] == [True, True, True, False]


def test_what_runs_and_what_has_ended_says_how_it_stands(here: Client) -> None:
    progress = {"fraction": 0.25, "step": 5, "steps": 20}
    make_job(
        "running", prompt="half way", progress=progress, started_at=timezone.now() - timedelta(seconds=30), lease_token=HEX
    )
    stopping = make_job("running", prompt="on its way out", cancel_requested_at=timezone.now(), lease_token=HEX)
    failed = make_job(
        "failed", prompt="too much", error={"code": "out_of_memory", "status": 507, "detail": "No memory <left>."}
    )
    make_job("cancelled", prompt="not wanted")
    old = make_job("succeeded", prompt="of last month")
    Job.objects.filter(pk=old.pk).update(id="01900000-0000-7000-8000-000000000000")
    page = shown(here)
    for words in (
        "Step 5 of 20",
        "about 1 min 3",
        "Stopping at its next step",
        "No memory &lt;left&gt;.",
        "not wanted",
    ):
        assert words in page, words
    assert f"/studio/jobs/{failed.pk}/" in page
    assert f"cancel-{stopping.pk}" not in page
    assert "of last month" not in page
    only_failed = shown(here, state="failed")
    assert [prompt in only_failed for prompt in ("too much", "not wanted", "half way")] == [True, False, False]


HEX = "0197c0de-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"kind": "detect"}, ["a poster"]),
        ({"words": "LAKE a"}, ["a lake"]),
        ({"state": "waiting"}, ["a lake", "a poster"]),
        ({"state": "running"}, ["a hill"]),
        ({"state": "nonsense"}, []),
        ({"kind": "nonsense"}, []),
        ({"words": "a\x00 lake"}, ["a lake"]),
    ],
)
def test_the_list_is_narrowed(here: Client, query: dict[str, str], found: list[str]) -> None:
    make_job("queued", prompt="a lake")
    make_job("queued", prompt="a poster", kind="detect")
    make_job("running", prompt="a hill", lease_token=HEX)
    page = shown(here, **query)
    assert [prompt for prompt in ("a hill", "a lake", "a poster") if f">{prompt}<" in page] == sorted(found)
    assert ("No job is like that." in page) == (not found)
    whole = shown(here, PAGE, **query)
    assert all(f">{prompt}<" in whole for prompt in found)


def test_children_are_folded_into_their_parent(here: Client) -> None:
    parent = make_job("running", kind="grid", prompt="a grid")
    for status in ("succeeded", "failed", "running", "queued"):
        make_job(status, prompt=f"cell {status}", parent=parent)
    page = shown(here)
    assert "2 of 4 parts done" in page
    assert 'value="50"' in page
    assert "Waits for its parts" in page
    assert page.index("<details") < page.index("cell queued") < page.index("</details>")
    assert page.count('<li class="row ') == 1


def test_a_key_that_may_only_look_gets_no_buttons() -> None:
    browser, prefix = logged_in("a reader", "read")
    make_job("queued", owner_key=prefix)
    make_worker()
    page = shown(browser, PAGE)
    assert "may only look" in page
    assert page.count('method="post"') == 2  # the language, and to log out


def test_the_page_is_as_cheap_with_ten_thousand_rows() -> None:
    browser, prefix = logged_in("a painter")
    chief, _ = logged_in("the chief", "staff")
    make_worker()

    def queries(client: Client) -> int:
        client.get(PAGE)  # what is cached, and the note of the key's use
        with CaptureQueriesContext(connection) as captured:
            page = shown(client, PAGE)
        assert len(page) < 400_000
        return len(captured)

    make_job("queued", owner_key=prefix)
    few = {client: queries(client) for client in (browser, chief)}
    jobs = [
        Job(
            kind="txt2img",
            owner_key=(prefix, "another")[n % 2],
            prompt=f"number {n}",
            virtual_start=n,
            owner_order=n,
            params={},
        )
        for n in range(10_000)
    ]
    Job.objects.bulk_create(jobs, batch_size=500)
    assert all(count <= few[client] + 2 <= 22 for client in (browser, chief) if (count := queries(client)))
    page = shown(browser)
    assert page.count('<li class="row ') == 30
    assert "more than 1000" in page
    assert "These are first" in page
    assert "far back" not in page
    assert "far back" in shown(browser, words="number 9998")  # an owner's own row, behind all whose place is told


# ---------------------------------------------------------------- machines


def test_a_machine_says_what_it_has_holds_and_does() -> None:
    (browser, prefix), (chief, _) = logged_in("a painter"), logged_in("the chief", "staff")
    worker = make_worker()
    make_job("running", owner_key=prefix, prompt="mine on it", worker=worker, lease_token=HEX)
    make_job("running", owner_key="another", prompt="a secret", worker=worker, lease_token=HEX)
    page, all_of_it = shown(browser, MACHINES), shown(chief, MACHINES)
    for words in (
        "NVIDIA H200",
        "cuda:1",
        "float16",
        "10.0 GiB / 139.0 GiB",
        "75.0 GiB / 100.0 GiB",
        "sdxl-base-1.0",
        "7.0 GiB",
    ):
        assert words in page, words
    assert ("mine on it" in page, "a secret" in page, "another's job: Make a picture" in page) == (
        True, False, True,
    )  # fmt: skip
    assert "a secret" in all_of_it
    assert ("Unload" in page, "Unload" in all_of_it) == (False, True)


def test_a_silent_machine_and_one_that_could_not_start_are_told(here: Client) -> None:
    worker = make_worker(hostname="gone", heartbeat_at=timezone.now() - timedelta(minutes=5))
    record_start_failure(uuid7(), "libcudnn is missing")
    page = shown(here, MACHINES)
    assert "last heard from 5 min" in page
    assert "silent" in page
    assert "Unload" not in page
    assert "libcudnn is missing" in page
    Worker.objects.filter(pk=worker.pk).update(heartbeat_at=timezone.now() - timedelta(hours=2))
    assert "No worker is running" in shown(here, MACHINES)


def test_models_are_told_with_their_licence_and_whether_they_are_here(here: Client) -> None:
    make_job(
        "running",
        kind="load_model",
        model_id="sdxl-base-1.0",
        prompt="",
        progress={"stage": "Fetching 2 of 9"},
        lease_token=HEX,
    )
    page = shown(here, "/studio/queue/models", model="sdxl-base")
    assert "Fetching 2 of 9" in page
    assert "Download and load" not in page.split("model-sdxl-base-10")[1].split("</li>")[0]  # it is on its way
    page = shown(here, "/studio/queue/models", model="flux.1-schnell")
    assert "its licence must be accepted on the hub" in page
    assert "Download and load" in page
    assert "No model is called that." in shown(here, "/studio/queue/models", model="no such model")


def test_staff_loads_and_unloads_in_one_worker_or_in_all(here: Client) -> None:
    worker = make_worker()
    sent = {"model_id": "starter", "worker": str(worker.pk)}
    card = here.post("/studio/models/unload", sent, headers=PART).content.decode()
    job = Job.objects.get()
    assert (job.kind, job.model_id, job.only_worker_id, job.source) == ("unload_model", "starter", worker.pk, "studio")
    assert f'id="job-{job.pk}"' in card
    here.post("/studio/models/load", {"model_id": "starter", "worker": "all"}, headers=PART)
    assert Job.objects.get(kind="load_model").params["worker"] == "all"
    refused = here.post("/studio/models/load", {"model_id": "starter", "worker": HEX}, headers=PART)
    assert (refused.status_code, "No worker that is alive has this id" in refused.content.decode()) == (422, True)
    browser, _ = logged_in("a painter")
    denied = browser.post("/studio/models/unload", sent, headers=PART)
    assert (denied.status_code, "scope “staff”" in denied.content.decode()) == (403, True)
    assert Job.objects.count() == 2
