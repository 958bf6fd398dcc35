"""The server around the work: its start, its overhead, its wake-up, and many clients that wait at once.

    python -m benchmarks.server [--database postgresql://…] [--folder /dev/shm]

Needs the pictures' kind of the tests: a 'picture' job writes one small PNG, its thumbnail and its rows, as a real one does.
"""

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from benchmarks.harness import WorkerProcess, make_server, median, parser, prepare, print_machine, print_table, until
from tests.live import ROOT, LiveServer


class Client:
    """One connection that is kept, as clients do."""

    def __init__(self, server: LiveServer) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)

    def post(self, kind: str, prefer: str = "wait=60", **params: Any) -> dict[str, Any]:
        body = json.dumps({"kind": kind, "params": params})
        headers = {"Content-Type": "application/json", "Prefer": prefer}
        self.connection.request("POST", "/api/test-jobs/", body, headers)
        reply = self.connection.getresponse()
        answer = json.load(reply)
        if reply.status not in (201, 202):
            raise RuntimeError(f"{reply.status}: {answer}")
        return {**answer, "status_code": reply.status}

    def milliseconds(self, kind: str, **params: Any) -> float:
        """Request in to answer out, less the time that the job itself says to have slept."""
        started = time.monotonic()
        job = self.post(kind, **params)
        return (time.monotonic() - started - job["timings"].get("sleep", 0)) * 1000


def measure_overhead(server: LiveServer, clients: int, each: int) -> list[float]:
    def one_client(_: int) -> list[float]:
        client = Client(server)
        client.milliseconds("picture")
        return [client.milliseconds("picture") for _ in range(each)]

    with ThreadPoolExecutor(clients) as pool:
        return [value for values in pool.map(one_client, range(clients)) for value in values]


def measure_wake_ups(server: LiveServer, count: int = 30) -> list[float]:
    client = Client(server)
    values = []
    for _ in range(count):
        time.sleep(0.15)
        values.append(client.post("noop")["timings"]["queue"] * 1000)
    return values


def measure_waiters(server: LiveServer, clients: int) -> dict[str, int]:
    """Threads and database connections of the web process while `clients` wait for one job each that doesn't come."""
    process = serving(server)
    before = process.num_threads()
    ended: list[int] = []

    def wait() -> None:
        ended.append(Client(server).post("sleep", prefer="wait=20", seconds=0)["status_code"])

    threads = [threading.Thread(target=wait) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(8)
    seen = {"threads": process.num_threads(), "before": before, "connections": database_connections(process)}
    return {**seen, "waiting": clients - len(ended), "threads_of_waiters": threads_to_join(threads)}


def threads_to_join(threads: list[threading.Thread]) -> int:
    for thread in threads:
        thread.join()
    return len(threads)


def serving(server: LiveServer) -> psutil.Process:
    assert server.process is not None
    return psutil.Process(server.process.pid).children()[0]


def database_connections(process: psutil.Process) -> int:
    from django.db import connection

    if connection.vendor == "sqlite":
        return sum(file.path.endswith("darkroom.sqlite3") for file in process.open_files())
    ports = {peer.raddr.port for peer in process.net_connections() if peer.raddr and peer.status == "ESTABLISHED"}
    port = int(connection.settings_dict["PORT"] or 5432)
    return sum(peer.raddr.port == port for peer in process.net_connections() if peer.raddr) if port in ports else 0


def measure_start(server: LiveServer) -> tuple[float, float, float]:
    """Seconds from the command to the first answer, MiB of the process that serves, and processor seconds of its start."""
    started = time.monotonic()
    server.start()
    seconds = time.monotonic() - started
    process = serving(server)
    memory = process.memory_info()
    spent = process.cpu_times()
    return seconds, memory.rss / 2**20, spent.user + spent.system


def imports_of_web_process() -> str:
    code = "import sys, config.asgi; print(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--clients", type=int, default=200)
    options = arguments.parse_args()
    data = prepare(options)
    print_machine(data)
    server = make_server(data)
    seconds, memory, spent = measure_start(server)
    print_table(
        "Web process",
        [
            ("start to first answer", f"{seconds:.2f} s ({spent:.2f} s of a processor)"),
            ("memory", f"{memory:.0f} MiB"),
            ("imports torch", imports_of_web_process()),
        ],
    )
    waiters = measure_waiters(server, options.clients)  # before there is a worker: nothing comes
    print_table(
        f"{options.clients} clients that wait for their results at once",
        [
            ("waiting", waiters["waiting"]),
            ("threads", f"{waiters['threads']} ({waiters['before']} before)"),
            ("database connections", waiters["connections"]),
        ],
    )
    worker = WorkerProcess(data)
    until(lambda: Client(server).post("noop")["status"] == "succeeded", 60)
    wake_ups = measure_wake_ups(server)
    alone, together = measure_overhead(server, 1, 60), measure_overhead(server, 8, 25)
    rate = measure_rate(server)
    print_table(
        "Request in to answer out, with one small picture written (milliseconds)",
        [
            ("one client, median", f"{median(alone):.1f}"),
            ("one client, 9 of 10 below", f"{sorted(alone)[len(alone) * 9 // 10]:.1f}"),
            ("8 clients, median", f"{median(together):.1f}"),
            ("8 clients, median per job", f"{median(together) / 8:.1f}"),
            ("wake-up of an idle worker, median", f"{median(wake_ups):.1f}"),
            ("wake-up, worst of 30", f"{max(wake_ups):.1f}"),
            ("8 clients, 'noop'", rate),
        ],
    )
    worker.stop()
    server.stop()
    troubles = re.findall(r"database is locked|Traceback|PoolTimeout", server.log.read_text())
    print_table("Web process's log", [("troubles", ", ".join(sorted(set(troubles))) or "none")])
    return 0


def measure_rate(server: LiveServer, clients: int = 8, each: int = 30) -> str:
    def one_client(_: int) -> None:
        client = Client(server)
        for _ in range(each):
            client.post("noop")

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one_client, range(clients)))
    return f"{clients * each / (time.monotonic() - started):.0f} requests/s"


if __name__ == "__main__":
    sys.exit(main())
