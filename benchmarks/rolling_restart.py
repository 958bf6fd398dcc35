"""Restarts one web process after the other while clients send requests, and counts what that cost: nothing, or exit code 1.

    python -m benchmarks.rolling_restart [--database postgresql://…] [--processes 4] [--rate 50] [--rounds 2] [--kill]

The web processes are servers of their own behind a TCP proxy that asks each for /api/ready/. Clients are plain HTTP clients, half of them
with connections that they keep; they try nothing again. `--kill` ends the processes by SIGKILL: this shows that failures are seen.
"""

import asyncio
import io
import itertools
import os
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import psutil

from benchmarks.harness import WorkerProcess, make_server, parser, prepare, print_machine, print_table, until
from tests.balancer import Balancer
from tests.live import LiveServer

CHECK_SECONDS, DELAY_SECONDS = 0.25, 1
TIMEOUT_SECONDS = 60.0
LATE_JOBS_SECONDS = 60.0


class Load:
    """Clients, and what they were told: `accepted` has every job by its key, `failures` what a client without retries sees as one."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60)
        self.keeping = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits)
        once = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self.closing = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, limits=once)
        self.numbers = itertools.count()
        self.sent: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []
        self.accepted: dict[str, str] = {}
        self.uploads: list[str] = []
        self.told_later = self.resumed = 0
        self.requests: dict[str, Callable[[httpx.AsyncClient, str], Awaitable[None]]] = {
            "submit and wait": self.submit,
            "submit and wait longer": self.submit_slow,
            "job": self.read,
            "history": self.list,
            "events": self.follow,
            "upload": self.upload,
        }

    async def run(self, rate: float, stopped: threading.Event) -> None:
        """At a rate that no slow answer lowers."""
        tasks, started = set(), time.monotonic()
        async with self.keeping, self.closing:
            for turn in itertools.count():
                if stopped.is_set():
                    break
                await asyncio.sleep(max(0.0, started + turn / rate - time.monotonic()))
                tasks.add(asyncio.create_task(self.send(turn)))
            await asyncio.gather(*tasks)

    async def send(self, turn: int) -> None:
        name = list(self.requests)[turn % len(self.requests)]
        client = self.keeping if turn // len(self.requests) % 2 else self.closing
        self.sent[name] += 1
        began = time.monotonic()
        try:
            await self.requests[name](client, f"rolling-{turn}")
        except (httpx.HTTPError, AssertionError) as error:
            self.failures.append(f"{name}: {type(error).__name__} {error}")
        self.seconds[name].append(time.monotonic() - began)

    # ------------------------------------------------------------ requests

    async def post(self, client: httpx.AsyncClient, key: str, prefer: str, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key, "Prefer": prefer}
        reply = await client.post("/api/test-jobs/", json=body, headers=headers)
        assert reply.status_code in (201, 202), f"{reply.status_code} {reply.text[:200]}"
        self.accepted[key] = reply.json()["id"]
        return reply

    async def submit(self, client: httpx.AsyncClient, key: str, **body: Any) -> None:
        """202 is no failure: the job goes on, and its client knows where to look."""
        reply = await self.post(client, key, "wait=30", **{"kind": "noop", **body})
        self.told_later += reply.status_code == 202

    async def submit_slow(self, client: httpx.AsyncClient, key: str) -> None:
        await self.submit(client, key, kind="together")

    async def read(self, client: httpx.AsyncClient, key: str) -> None:
        if self.accepted:
            reply = await client.get(f"/api/jobs/{next(reversed(self.accepted.values()))}/")
            assert reply.status_code == 200, reply.status_code

    async def list(self, client: httpx.AsyncClient, key: str) -> None:
        reply = await client.get("/api/jobs/?limit=10")
        assert reply.status_code == 200, reply.status_code

    async def follow(self, client: httpx.AsyncClient, key: str) -> None:
        """A stream that ends before its job is gone on with from its last event, as browsers do; that every event comes once is seen."""
        job = (await self.post(client, key, "respond-async", kind="together")).json()
        seen: list[int] = []
        while not await self.read_events(client, job["id"], seen):
            self.resumed += 1
        assert seen == list(range(1, len(seen) + 1)), f"events {seen}"

    async def read_events(self, client: httpx.AsyncClient, job_id: str, seen: "list[int]") -> bool:
        """Whether the last event was among them."""
        headers = {"Last-Event-ID": str(seen[-1] if seen else 0)}
        async with client.stream("GET", f"/api/jobs/{job_id}/events/", headers=headers) as stream:
            assert stream.status_code == 200, stream.status_code
            ended = False
            async for line in stream.aiter_lines():
                seen += [int(line[3:])] if line.startswith("id:") else []
                ended |= line == 'data: {"status":"succeeded"}'
        return ended

    async def upload(self, client: httpx.AsyncClient, key: str) -> None:
        reply = await client.post("/api/images/", files={"image": ("a.png", picture(len(self.uploads)), "image/png")})
        assert reply.status_code == 201, f"{reply.status_code} {reply.text[:200]}"
        self.uploads.append(reply.json()["id"])


def picture(number: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (300, 300), (number % 256, number // 256 % 256, 0)).save(file, "png")
    return file.getvalue()


# ---------------------------------------------------------------- restarts


def restart_in_turn(servers: list[LiveServer], balancer: Balancer, rounds: int, *, kill: bool) -> list[float]:
    """Seconds that each took, from the signal until it is given requests again."""
    taken = []
    for server in servers * rounds:
        began = time.monotonic()
        end(server, kill=kill)
        server.start()
        until(lambda port=server.port: port in balancer.healthy, 120)  # type: ignore[misc]
        taken.append(time.monotonic() - began)
    return taken


def end(server: LiveServer, *, kill: bool) -> None:
    assert server.process is not None
    if not kill:
        server.stop()
        return
    for process in [server.process, *psutil.Process(server.process.pid).children()]:
        os.kill(process.pid, signal.SIGKILL)
    server.process.wait()


# ---------------------------------------------------------------- what became of it


def check(load: Load) -> list[tuple[str, Any]]:
    from django.db.models import Count

    from api.images.models import GeneratedImage
    from api.jobs.models import Job
    from api.jobs.states import FINAL, Status

    until(lambda: not Job.objects.exclude(status__in=FINAL).exists(), LATE_JOBS_SECONDS)
    jobs = {str(job.pk): job for job in Job.objects.all()}
    keys = Job.objects.values("idempotency_key").annotate(number=Count("pk")).filter(number__gt=1)
    uploaded = set(map(str, GeneratedImage.objects.values_list("pk", flat=True)))
    lost = [key for key, job_id in load.accepted.items() if job_id not in jobs or jobs[job_id].status != Status.SUCCEEDED]
    lost += [image for image in load.uploads if image not in uploaded]
    doubled = len(keys) + sum(job.attempt > 1 for job in jobs.values()) + len(uploaded - set(load.uploads))
    return [("failed", len(load.failures)), ("lost", len(lost)), ("doubled", doubled)]


def report(load: Load, taken: list[float], seconds: float) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("requests", f"{sum(load.sent.values())} in {seconds:.0f} s: {sum(load.sent.values()) / seconds:.0f} a second"),
        ("restarts", f"{len(taken)}, {max(taken):.1f} s at most until requests come again"),
        ("answered 202, since the process must end", load.told_later),
        ("streams gone on with at another process", load.resumed),
    ]
    for name, values in load.seconds.items():
        values.sort()
        rows.append((name, f"{len(values)}, median {values[len(values) // 2]:.3f} s, worst {values[-1]:.3f} s"))
    return rows


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--processes", type=int, default=4)
    arguments.add_argument("--rate", type=float, default=50.0)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--kill", action="store_true")
    options = arguments.parse_args()
    data = prepare(options, MAX_UPLOADS_PER_KEY="1000000", STOP_DELAY_SECONDS=str(DELAY_SECONDS))
    print_machine(data)
    servers = [make_server(data) for _ in range(options.processes)]
    for server in servers:
        server.start(wait=False)
    worker = WorkerProcess(data)
    for server in servers:
        server.wait_until(lambda server=server: server.answers("/api/ready/"), "it is ready")
    with Balancer([server.port for server in servers], CHECK_SECONDS) as balancer:
        load, stopped = Load(balancer.url), threading.Event()
        clients = threading.Thread(target=lambda: asyncio.run(load.run(options.rate, stopped)))
        began = time.monotonic()
        clients.start()
        time.sleep(2)
        taken = restart_in_turn(servers, balancer, options.rounds, kill=options.kill)
        time.sleep(2)
        stopped.set()
        clients.join()
        seconds = time.monotonic() - began
    outcome = check(load)
    print_table("Rolling restart", report(load, taken, seconds))
    print_table("What it cost", outcome)
    for failure, count in Counter(load.failures).most_common(12):
        print(f"  {count} × {failure}")
    worker.stop()
    for server in servers:
        server.stop()
    return 1 if any(count for _, count in outcome) else 0


if __name__ == "__main__":
    sys.exit(main())
