"""An older version and this one beside each other, on one database: what fails, or exit code 1.

    python -m benchmarks.two_versions --old 7cc004d1
    python -m benchmarks.two_versions --old 7cc004d1 --database postgresql://user@localhost/name      (an empty database)

Needs the repository's history (`git archive` gives the old version's files) and no other packages than this version's. In turn: the old
web process and worker alone; the tables migrated by the new version under them; the new version's beside them; the new alone; the old
again, on the new tables. In each, requests of several kinds go to each web process that is there, and each has to end as asked.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import print_table, processor
from tests.live import ROOT, LiveServer

REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "picture": ("/api/txt2img/", {"prompt": "a lake at sunset", "steps": 2}),
    "best of 2": ("/api/txt2img/", {"prompt": "a red circle", "steps": 2, "best_of": 2}),
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}),
    "layout score": ("/api/score/", {"variant": {"layout": "flex p-4"}, "event_data": {"title": "Fair"}}),
    "clip score": ("/api/clip-score/", {"images": [], "prompts": ["a lake"]}),
}
PATIENCE_SECONDS = 600  # where others keep every core busy
READS = ("/api/jobs/", "/api/images/", "/api/conversations/", "/api/status/", "/metrics")


class Version(LiveServer):
    """A web process, and a worker in a process of its own, of the code in `code`."""

    def __init__(self, name: str, code: Path, folder: Path, **environment: str) -> None:
        super().__init__(folder, JOB_RUNNER="external", MAX_BATCH="1", **environment)
        self.name, self.code = name, code
        self.worker: subprocess.Popen[bytes] | None = None
        self.log = folder / f"{name}.log"

    def command(self, *words: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, *words], cwd=self.code, env=self.environment, stdout=log, stderr=log)

    def migrate(self) -> None:
        assert self.command("manage.py", "migrate", "-v0").wait(300) == 0, self.log.read_text()[-3000:]

    def start(self, *, wait: bool = True) -> None:
        self.process = self.command("-m", "gunicorn", "--config", "config/gunicorn.py", "config.asgi:application")
        self.worker = self.command("manage.py", "worker")
        self.wait_until(lambda: self.answers("/api/health/"), f"the {self.name} server answers", PATIENCE_SECONDS)

    def wait_for_worker(self, others: int) -> None:
        def are_there() -> bool:
            found = self.client.get("/api/status/").json()["workers"]
            return len(found) > others and all(worker["state"] not in ("starting", "loading") for worker in found)

        self.wait_until(are_there, f"the {self.name} worker is there", PATIENCE_SECONDS)

    def stop(self, sign: int = 15) -> None:
        super().stop(sign)
        if self.worker is not None:
            self.worker.send_signal(sign)
            self.worker.wait(60)
            self.worker = None


class Load:
    """Sends each kind of request to each web process, over and over, in a thread, and counts how they end."""

    def __init__(self, versions: list[Version], picture: str) -> None:
        self.versions, self.picture = versions, picture
        self.succeeded: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.ended.is_set():
            self.run_once()

    def run_once(self) -> None:
        for version in self.versions:
            for name, (path, body) in REQUESTS.items():
                body = {**body, "images": [self.picture]} if "images" in body else body
                self.count(f"{name} by the {version.name} web", version, path, body)
            for path in READS:
                self.count(f"{path} of the {version.name} web", version, path, None)

    def count(self, name: str, version: Version, path: str, body: dict[str, Any] | None) -> None:
        try:
            reply = version.client.get(path) if body is None else version.client.post(path, json=body)
        except httpx.HTTPError as error:
            self.failures.append(f"{name}: {error!r}")
            return
        if reply.status_code in (200, 201):
            self.succeeded[version.name] += 1
        else:
            self.failures.append(f"{name}: {reply.status_code} {reply.text[:300]}")


def make_picture(version: Version) -> str:
    reply = version.client.post("/api/txt2img/", json=REQUESTS["picture"][1])
    assert reply.status_code == 201, reply.text
    return str(reply.json()["result"]["images"][0]["id"])


@contextmanager
def old_code(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="darkroom-old-") as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
        if archive.returncode:
            sys.exit(f"There is no commit {commit} here: {archive.stderr.decode().strip()}. A shallow clone has no history.")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def phases(old: Version, new: Version, rounds: int) -> Iterator[tuple[str, Load]]:
    """What is beside what, and what came of it."""
    old.migrate()
    old.start()
    old.wait_for_worker(0)
    picture = make_picture(old)
    yield "old alone", loaded([old], picture, rounds)
    load = Load([old], picture)
    load.thread.start()
    new.migrate()
    load.ended.set()
    load.thread.join()
    yield "old, while the new version migrates", load
    yield "old, on the new tables", loaded([old], picture, rounds)
    new.start()
    new.wait_for_worker(1)
    yield "old and new", loaded([old, new], picture, rounds)
    old.stop()
    yield "new alone", loaded([new], picture, rounds)
    old.start()
    old.wait_for_worker(1)
    new.stop()
    yield "old again, on the new tables", loaded([old], picture, rounds)


def loaded(versions: list[Version], picture: str, rounds: int) -> Load:
    load = Load(versions, picture)
    for _ in range(rounds):
        load.run_once()
    return load


def compare(commit: str, folder: Path, database: str, rounds: int) -> dict[str, Load]:
    with old_code(commit) as code:
        shared = {"DATABASE_URL": database, "ENV_FILE": str(folder / "no.env")}
        old, new = Version("old", code, folder, **shared), Version("new", ROOT, folder, **shared)
        found = {}
        try:
            for name, load in phases(old, new, rounds):
                print(
                    f"{name}: {sum(load.succeeded.values())} as asked, {len(load.failures)} not",
                    *load.failures,
                    sep="\n  ",
                    flush=True,
                )
                found[name] = load
        finally:
            old.stop()
            new.stop()
        return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--old", required=True, help="a commit or a tag")
    arguments.add_argument("--database", default="", help="PostgreSQL's URL of an empty database; without it, SQLite")
    arguments.add_argument("--rounds", type=int, default=3, help="of all requests, in each phase")
    given = arguments.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="darkroom-versions-") as folder:
        found = compare(given.old, Path(folder), given.database, given.rounds)
    rows = [(name, f"{sum(load.succeeded.values())} as asked, {len(load.failures)} not") for name, load in found.items()]
    print_table(f"{given.old} and this version", rows)
    sys.exit(any(load.failures for load in found.values()))


if __name__ == "__main__":
    main()
