"""All that a capability gets from the queue, through a server that knows it by EXTRA_APPS alone."""

from collections.abc import Iterator

import httpx
import pytest

from tests.live import LiveServer

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFElEQVR4nGM0TpvJgA0wYRUdtBIA804BQrUl5/kAAAAASUVORK5CYII="


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[httpx.Client]]:
    without_models = {"EXTRA_APPS": "tests.colour", "LOAD_MODELS": "false"}
    with LiveServer(tmp_path_factory.mktemp("colour"), DATABASE_URL="", **without_models) as server:
        keys = [server.manage("create_key", name, "--scope", "staff", "--quota", "4").split() for name in ("ann", "bob")]
        tokens = [next(word for word in words if word.startswith("drk_")) for words in keys]
        yield [httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) for token in tokens]


def ask(client: httpx.Client, rounds: int = 1, **headers: str) -> httpx.Response:
    return client.post("/api/colour/", json={"image": PICTURE, "rounds": rounds}, headers=headers)


def last_event(client: httpx.Client, job: str) -> str:
    with client.stream("GET", f"{job}events/") as events:
        return [line for line in events.iter_lines() if line.startswith("data: ")][-1]


def test_it_is_answered_repeated_counted_and_documented(clients: list[httpx.Client]) -> None:
    ann = clients[0]
    job = ask(ann, **{"Idempotency-Key": "k"}).json()
    assert (job["status"], job["result"]) == ("succeeded", {"colour": "#336699"})
    assert ask(ann, **{"Idempotency-Key": "k"}).json()["id"] == job["id"]
    again = ann.post(f"/api/jobs/{job['id']}/retry/").json()
    assert (again["params"], '"succeeded"' in last_event(ann, again["links"]["self"])) == (job["params"], True)
    assert len(ann.get("/api/jobs/?kind=colour").json()["results"]) == 2
    assert 'darkroom_jobs_finished_total{kind="colour",model_id="",status="succeeded"} 2.0' in ann.get("/metrics").text
    assert ask(ann, rounds=0).json()["errors"][0]["field"] == "rounds"
    assert "Measure a picture's mean colour" in ann.get("/api/schema/").text


def test_owners_have_quotas_and_take_turns_and_a_job_is_cancelled(clients: list[httpx.Client]) -> None:
    ann, bob = clients
    replies = [ask(ann, rounds=100, Prefer="respond-async") for _ in range(5)]
    assert [reply.status_code for reply in replies] == [202, 202, 202, 202, 429]
    jobs = [reply.json()["links"]["self"] for reply in replies[:4]]
    jobs.append(ask(bob, Prefer="respond-async").json()["links"]["self"])
    ann.post(f"{jobs[0]}cancel/")
    assert '"cancelled"' in last_event(ann, jobs[0])
    assert '"succeeded"' in last_event(bob, jobs[4])
    assert [ann.get(job).json()["status"] for job in jobs[2:4]] == ["queued", "queued"]
