"""Thousands of clients that watch or wait at once, over several web processes: how long events take to them, and what memory they take.

    python -m benchmarks.streams --database postgresql://… [--processes 4] [--streams 2000] [--waiting 1000]

Each client has a job of its own. Once all are connected a worker begins, with jobs that do nothing but tell their progress: 64 at a time.
An event's time is from its statement in the database, by the database's clock, to its arrival at the client, on the same machine.
"""

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks.harness import WorkerProcess, make_server, parser, prepare, print_machine, print_table
from tests.live import LiveServer

EVENT_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)
AT_ONCE = 50
"""Connections that are opened at the same time."""
LONGEST_SECONDS = 600.0


class Client(asyncio.Protocol):
    """Sends one request, and notes when what came of it."""

    def __init__(self, request: bytes, job_id: str = "") -> None:
        self.request, self.job_id = request, job_id
        self.arrived: dict[int, float] = {}
        self.text = b""
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self.text += data
        for number in EVENT_ID.findall(self.text):
            self.arrived.setdefault(int(number), now)
        self.begun.set()
        if b"\r\n0\r\n\r\n" in self.text or (not self.job_id and b"\r\n\r\n" in self.text):
            self.arrived.setdefault(-1, now)
            self.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.begun.set()
        self.ended.set()


def stream_of(job_id: str) -> bytes:
    return f"GET /api/jobs/{job_id}/events/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def waiting_for(params: dict[str, Any]) -> bytes:
    body = json.dumps({"kind": "together", "params": params})
    head = "POST /api/test-jobs/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nPrefer: wait=300"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def connect(clients: Sequence[Client], ports: Sequence[int], *, until_begun: bool) -> None:
    """In turn to each of the processes."""
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def open_one(place: int, client: Client) -> None:
        async with room:
            await loop.create_connection(lambda: client, "127.0.0.1", ports[place % len(ports)])
            if until_begun:
                await client.begun.wait()

    await asyncio.gather(*(open_one(place, client) for place, client in enumerate(clients)))


# ---------------------------------------------------------------- what was measured


def delays_of_streams(clients: Sequence[Client], since: float) -> list[float]:
    """Of all events of their jobs; raises where one did not come."""
    from api.jobs.models import JobEvent

    arrived = {client.job_id: client.arrived for client in clients}
    rows = JobEvent.objects.filter(job_id__in=arrived).exclude(type="preview").values_list("job_id", "sequence", "created_at")
    written = [(str(job_id), sequence, at.timestamp()) for job_id, sequence, at in rows if at.timestamp() >= since]
    return sorted(arrived[job_id][sequence] - at for job_id, sequence, at in written)


def delays_of_waiting(clients: Sequence[Client]) -> list[float]:
    from api.jobs.models import Job

    ends = {str(pk): at.timestamp() for pk, at in Job.objects.values_list("pk", "finished_at")}
    return sorted(
        client.arrived[-1] - ends[re.search(rb'"id":"([0-9a-f-]{36})"', client.text)[1].decode()] for client in clients
    )  # type: ignore[index]


def milliseconds(delays: Sequence[float]) -> str:
    places = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("worst", 1.0)]
    found = [f"{name} {delays[min(len(delays) - 1, int(len(delays) * place))] * 1000:.0f}" for name, place in places]
    return f"{', '.join(found)} ms ({len(delays)})"


def web_processes(servers: Sequence[LiveServer]) -> list[psutil.Process]:
    return [psutil.Process(server.process.pid).children()[0] for server in servers if server.process]


def mebibytes(processes: Sequence[psutil.Process]) -> str:
    return ", ".join(f"{process.memory_info().rss / 2**20:.0f}" for process in processes)


def processor_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


# ---------------------------------------------------------------- the run


def submit_jobs(count: int, params: dict[str, Any]) -> list[str]:
    from api.jobs import lifecycle
    from tests.rows import spec_of

    spec = spec_of("together", params)
    return [str(lifecycle.submit_job(spec=spec, owner_key="local").pk) for _ in range(count)]


async def measure(servers: list[LiveServer], start_worker: Any, options: Any) -> None:
    params = {"steps": options.steps, "seconds": options.seconds}
    ports, processes = [server.port for server in servers], web_processes(servers)
    before = mebibytes(processes)
    streams = [Client(stream_of(job_id), job_id) for job_id in await asyncio.to_thread(submit_jobs, options.streams, params)]
    waiting = [Client(waiting_for(params)) for _ in range(options.waiting)]
    began = time.monotonic()
    await connect(streams, ports, until_begun=True)
    await connect(waiting, ports, until_begun=False)
    connected = time.monotonic() - began
    print(f"\nAll are connected after {connected:.0f} s", flush=True)
    await asyncio.sleep(5)
    idle = processor_seconds(processes)
    await asyncio.sleep(5)
    idle = (processor_seconds(processes) - idle) / 5
    during, spent = mebibytes(processes), processor_seconds(processes)
    await asyncio.to_thread(start_worker)
    since, began = time.time(), time.monotonic()
    load = psutil.getloadavg()[0]
    print("The worker has begun", flush=True)
    async with asyncio.timeout(LONGEST_SECONDS):
        await asyncio.gather(*(client.ended.wait() for client in [*streams, *waiting]))
    seconds = time.monotonic() - began
    of_streams = await asyncio.to_thread(delays_of_streams, streams, since)
    of_waiting = await asyncio.to_thread(delays_of_waiting, waiting)
    print_table(
        f"{len(streams)} streams and {len(waiting)} waiting clients over {len(servers)} web processes",
        [
            ("connected in", f"{connected:.0f} s"),
            ("memory of each process, MiB", f"{before} before; {during} with all clients; {mebibytes(processes)} at the end"),
            ("processors, while nothing happens", f"{idle:.2f} of all processes"),
            ("processors, while jobs run", f"{(processor_seconds(processes) - spent) / seconds:.2f} of all processes"),
            (
                "load of the machine",
                f"{load:.1f} at the beginning, {psutil.getloadavg()[0]:.1f} at the end, {psutil.cpu_count()} cores",
            ),
            ("events", f"{len(of_streams) / seconds:.0f} a second, for {seconds:.0f} s"),
            ("an event to its stream", milliseconds(of_streams)),
            ("a job's end to who waits", milliseconds(of_waiting)),
        ],
    )


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--processes", type=int, default=4)
    arguments.add_argument("--streams", type=int, default=2000)
    arguments.add_argument("--waiting", type=int, default=1000)
    arguments.add_argument("--steps", type=int, default=2)
    arguments.add_argument("--seconds", type=float, default=1.0, help="that each of a job's steps takes")
    options = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    data = prepare(options)
    print_machine(data)
    servers = [make_server(data) for _ in range(options.processes)]
    for server in servers:
        server.start(wait=False)
    for server in servers:
        server.wait_until(lambda server=server: server.answers("/api/health/"), "the server answers")
    asyncio.run(measure(servers, lambda: WorkerProcess(data), options))
    for server in servers:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
