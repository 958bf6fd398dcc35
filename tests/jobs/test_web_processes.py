"""Two web processes on one database, as on two machines: a proxy gives each connection to the next, and no client notices."""

import io
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from PIL import Image

from benchmarks.harness import drop_postgres_database, new_postgres_database
from tests.balancer import Balancer
from tests.jobs.conftest import TESTING_SETTINGS, until
from tests.live import ROOT, LiveServer

pytestmark = pytest.mark.postgres
LATER = {"Prefer": "respond-async"}


@dataclass
class Fleet:
    """`client` has a staff key. It keeps no connection: each request comes to the other process than the one before."""

    servers: list[LiveServer]
    client: httpx.Client

    def submit(self, kind: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        return self.client.post("/api/test-jobs/", json={"kind": kind, "params": params}, headers=headers)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """On PostgreSQL each has a data folder of its own; SQLite's file is in the one that they share."""
    base, folder = os.environ.get("DATABASE_URL", ""), tmp_path_factory.mktemp("fleet")
    url = new_postgres_database(base, "_fleet") if base.startswith("postgres") else ""
    environment = {
        "DJANGO_SETTINGS_MODULE": TESTING_SETTINGS,
        "EXTRA_APPS": "benchmarks.quick_kinds",
        "JOB_RUNNER": "external",
        "DATABASE_URL": url,
        "MEDIA_ROOT": str(folder / "media"),
        "SECRET_KEY": "of all of them",
        "PROMPT_SCORES": "false",
    }
    servers = [LiveServer(folder / f"machine-{number if url else 0}", **environment) for number in (1, 2)]
    worker = None
    try:
        servers[0].folder.mkdir()
        servers[0].manage("migrate", "-v0")
        for server in servers:
            server.start(wait=False)
        worker = subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, env=servers[0].environment)
        token = servers[0].manage("create_key", "chief", "--scope", "staff").strip()
        for server in servers:
            server.wait_until(lambda server=server: server.answers("/api/ready/"), "a worker is there")
        with Balancer([server.port for server in servers]) as balancer:
            limits, headers = httpx.Limits(max_keepalive_connections=0), {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=balancer.url, timeout=60, limits=limits, headers=headers) as client:
                yield Fleet(servers, client)
    finally:
        for server in servers:
            server.client.close()
            server.stop()
        if worker is not None:
            worker.kill()
            worker.wait()
        if url:
            drop_postgres_database(base, url.rpartition("/")[2])


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "png")
    return file.getvalue()


def event_ids(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^id: (\d+)$", text, re.MULTILINE)]


# ---------------------------------------------------------------- a job


def test_a_job_is_waited_for_streamed_with_previews_and_cancelled_at_other_processes(fleet: Fleet) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fleet.submit, "sleep", {"Prefer": "wait=50"}, steps=1000, seconds=0.05, preview=True)
        job = until(lambda: (fleet.client.get("/api/jobs/?status=running").json()["results"] or [None])[0])
        with fleet.client.stream("GET", f"/api/jobs/{job['id']}/events/") as stream:
            for line in stream.iter_lines():
                if '"preview":"data:image/jpeg' in line:
                    break
        for _ in range(2):  # at each of them
            assert fleet.client.post(f"/api/jobs/{job['id']}/cancel/").status_code == 200
        answer = waiting.result()
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (409, job["id"], "cancelled")


def test_a_stream_is_gone_on_with_at_another_process(fleet: Fleet) -> None:
    job = fleet.submit("tokens", LATER, count=6).json()
    address = f"/api/jobs/{job['id']}/events/"
    whole = fleet.client.get(address).text
    with fleet.client.stream("GET", address) as stream:
        begun = next(int(line[3:]) for line in stream.iter_lines() if line.startswith("id: 4"))
    rest = fleet.client.get(address, headers={"Last-Event-ID": str(begun)}).text
    assert event_ids(whole) == [*range(1, begun + 1), *event_ids(rest)]
    assert event_ids(rest)[-1] > begun


def test_a_key_that_is_posted_to_both_at_once_makes_one_job(fleet: Fleet) -> None:
    def post(number: int) -> tuple[int, str]:
        return number // 4, fleet.submit("noop", {"Idempotency-Key": f"once-{number // 4}"}).json()["id"]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(post, range(32)))
    assert len(found) == len({job_id for _, job_id in found}) == 8


def test_a_limit_holds_for_all_of_them_together(fleet: Fleet) -> None:
    token = fleet.servers[0].manage("create_key", "small", "--quota", "3").strip()
    headers = {"Authorization": f"Bearer {token}", **LATER}
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: fleet.submit("sleep", headers, steps=1000), range(12)))
    for reply in replies:
        if reply.status_code == 202:
            fleet.client.post(f"/api/jobs/{reply.json()['id']}/cancel/")
    assert Counter(reply.status_code for reply in replies) == {202: 3, 429: 9}


# ---------------------------------------------------------------- what is kept beside jobs


def test_an_upload_is_used_and_its_picture_sent_by_another_process(fleet: Fleet) -> None:
    uploaded = fleet.client.post("/api/images/", files={"image": ("a.png", picture(), "image/png")}).json()
    body = {"prompt": "a lake", "image": uploaded["id"]}
    [made] = fleet.client.post("/api/img2img/", json=body).json()["result"]["images"]
    for _ in range(2):
        assert fleet.client.get(made["url"].replace("http://testserver", "")).headers["Content-Type"] == "image/png"
    answer = fleet.client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Is it?"}]}).json()
    assert answer["choices"][0]["message"]["content"] == "Yes."


def test_both_count_the_same_jobs(fleet: Fleet) -> None:
    fleet.submit("noop")

    def counted() -> set[str]:
        return set(re.findall(r"^darkroom_jobs_finished_total.*$", fleet.client.get("/metrics").text, re.MULTILINE))

    assert counted() == counted() != set()


def test_who_logs_in_at_one_is_known_to_the_other_and_so_are_wrong_passwords(fleet: Fleet) -> None:
    token = fleet.client.headers["Authorization"].removeprefix("Bearer ")
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=fleet.client.base_url, limits=limits, timeout=60) as browser:

        def log_in(**fields: str) -> httpx.Response:
            browser.get("/studio/login")
            return browser.post("/studio/login", data={"csrfmiddlewaretoken": browser.cookies["csrftoken"], **fields})

        guesses = [log_in(username="owner", password="wrong").status_code for _ in range(12)]
        assert guesses == [200] * 10 + [429] * 2
        assert log_in(key=token).status_code == 302
        assert [browser.get("/studio/queue/").status_code for _ in range(2)] == [200, 200]
