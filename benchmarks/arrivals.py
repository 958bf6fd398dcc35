"""Requests for pictures that arrive at random, to a server of this code and, beside it, to one of another checkout.

    python -m benchmarks.arrivals [--against ../other-checkout] [--load 2 0.8] [--requests 60] [--rounds 5] [--alone 20]

The requests differ in steps (4-20), scheduler and guidance, and arrive as a Poisson process at `load` times what the server makes of
single requests one after the other. The same trace goes to both servers in turn, one server running at a time; ratios are of the
rounds' pairs, with their 95 % interval. `--alone`: pairs of one request at a time. Beside the clock: processor time of the server's
processes, which says more where the machine is shared.
"""

import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.harness import parser, print_table
from tests.live import ROOT, LiveServer

SCHEDULERS = (None, "euler", "euler_a", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "heun", "unipc")
PROMPTS = ("A serene lake at sunset", "a red circle", "a house in the snow", "stars over a hill, at night")
T_95 = {3: 4.303, 5: 2.776, 10: 2.262, 20: 2.093, 40: 2.023, 60: 2.001}
SIDE = 128


@dataclass
class Told:
    """What a client saw of one request, in seconds after it was sent."""

    first_step: float
    done: float


class CheckoutServer(LiveServer):
    """The server of another checkout, with that checkout's virtual environment."""

    def __init__(self, root: Path, folder: Path, **environment: Any) -> None:
        super().__init__(folder, **environment)
        self.root = root

    def __enter__(self) -> "CheckoutServer":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.client = httpx.Client(base_url=self.url, timeout=300)
        python = str(self.root / ".venv/bin/python") if self.root != ROOT else sys.executable
        subprocess.run([python, "manage.py", "migrate", "-v0"], cwd=self.root, env=self.environment, check=True)
        command = [python, "-m", "gunicorn", "--config", "config/gunicorn.py", "config.asgi:application"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=log, stderr=log)
        self.wait_until(lambda: self.answers("/api/ready/"), "the server is ready")
        return self


class PictureServer(CheckoutServer):
    """One that has made pictures: what is prepared at the first ones is not measured."""

    def __enter__(self) -> "PictureServer":
        super().__enter__()
        for steps in (2, 4):
            self.client.post("/api/txt2img/", json=body(random.Random(0), steps=steps)).raise_for_status()
        return self


def processor_milliseconds(server: LiveServer) -> float:
    """That the web process and the worker have taken until now."""
    assert server.process is not None
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    tasks = [path for process in processes for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e6


def body(chance: random.Random, **fixed: Any) -> dict[str, Any]:
    mixed = {
        "prompt": chance.choice(PROMPTS),
        "steps": chance.randint(4, 20),
        "scheduler": chance.choice(SCHEDULERS),
        "guidance_scale": chance.choice((1.0, 3.0, 5.0, 7.5)),
        "seed": chance.randint(0, 2**31),
        "width": SIDE,
        "height": SIDE,
    }
    return {name: value for name, value in {**mixed, **fixed}.items() if value is not None}


def make_trace(seed: int, count: int, rate: float) -> list[tuple[float, dict[str, Any]]]:
    """(seconds after the start, body) of each request, `rate` a second on average."""
    chance, moment, trace = random.Random(seed), 0.0, []
    for _ in range(count):
        moment += chance.expovariate(rate)
        trace.append((moment, body(chance)))
    return trace


def ask(server: LiveServer, asked: dict[str, Any], told: list[Told]) -> None:
    """Submits, and follows the job's events to its end."""
    sent, first = time.monotonic(), None
    with httpx.Client(base_url=server.url, timeout=300) as client:
        reply = client.post("/api/txt2img/", json=asked, headers={"Prefer": "respond-async"})
        reply.raise_for_status()
        with client.stream("GET", reply.json()["links"]["events"]) as events:
            for line in events.iter_lines():
                if first is None and '"step"' in line and '"step": 0' not in line and '"stage"' not in line:
                    first = time.monotonic() - sent
                if line.startswith("event: ") and line[7:] in ("succeeded", "failed", "cancelled"):
                    assert line[7:] == "succeeded", asked
                    break
    done = time.monotonic() - sent
    told.append(Told(first if first is not None else done, done))


def play(server: LiveServer, trace: Sequence[tuple[float, dict[str, Any]]]) -> dict[str, float]:
    told: list[Told] = []
    before, started, threads = processor_milliseconds(server), time.monotonic(), []
    for moment, asked in trace:
        time.sleep(max(0.0, started + moment - time.monotonic()))
        threads.append(threading.Thread(target=ask, args=(server, asked, told)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(told) == len(trace)
    latencies = sorted(one.done for one in told)
    return {
        "pictures/s": len(told) / (time.monotonic() - started),
        "processor, a picture (s)": (processor_milliseconds(server) - before) / 1000 / len(told),
        "latency, mean (s)": statistics.mean(latencies),
        "latency, p95 (s)": latencies[math.ceil(0.95 * len(latencies)) - 1],
        "first step, mean (s)": statistics.mean(one.first_step for one in told),
    }


def measure_rate(server: LiveServer, count: int = 16) -> float:
    """Pictures a second, one after the other."""
    chance, started = random.Random(1), time.monotonic()
    for _ in range(count):
        server.client.post("/api/txt2img/", json=body(chance)).raise_for_status()
    return count / (time.monotonic() - started)


def measure_alone(server: LiveServer, seed: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    asked, before = body(random.Random(seed), steps=20, scheduler=None, guidance_scale=5.0), processor_milliseconds(server)
    started = time.monotonic()
    server.client.post("/api/txt2img/", json=asked).raise_for_status()
    return time.monotonic() - started, (processor_milliseconds(server) - before) / 1000


def ratio(pairs: Sequence[tuple[float, float]], digits: int = 2) -> str:
    """The geometric mean of new/old, with its 95 % interval by Student's t where there are enough pairs."""
    logs = [math.log(new / old) for new, old in pairs]
    mean = statistics.mean(logs)
    if len(logs) < 3:
        return f"{math.exp(mean):.{digits}f}"
    t = next(value for count, value in sorted(T_95.items(), reverse=True) if count <= len(logs))
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    low, middle, high = (f"{math.exp(value):.{digits}f}" for value in (mean - half, mean, mean + half))
    return f"{middle} ({low} to {high})"


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--against", type=Path, help="another checkout, with its .venv")
    arguments.add_argument("--load", type=float, nargs="*", default=[2.0, 0.8])
    arguments.add_argument("--requests", type=int, default=60)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--alone", type=int, default=20)
    options = arguments.parse_args()
    roots = [ROOT, *([options.against.resolve()] if options.against else [])]
    with tempfile.TemporaryDirectory(prefix="darkroom-benchmark-", dir=options.folder) as folder:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        servers = [PictureServer(root, Path(folder) / str(number), DEVICE="cpu") for number, root in enumerate(roots)]
        rate = 0.0
        for server in servers:
            with server:
                rate = rate or measure_rate(server)
        print(f"one after the other: {rate:.2f} pictures/s", flush=True)
        for load in options.load:
            compare_traces(servers, roots, load, load * rate, options)
        compare_alone(servers, options.alone)


def compare_traces(servers: Sequence[LiveServer], roots: Sequence[Path], load: float, rate: float, options: Any) -> None:
    seen: list[list[dict[str, float]]] = [[] for _ in servers]
    for number in range(options.rounds):
        order = list(enumerate(servers))
        for index, server in order if number % 2 == 0 else reversed(order):
            with server:
                seen[index].append(play(server, make_trace(number, options.requests, rate)))
                print(f"load {load}, round {number + 1}, {roots[index].name}: {seen[index][-1]}", flush=True)
    rows = []
    for name in seen[0][0]:
        columns = [f"{statistics.mean(one[name] for one in rounds):.2f}" for rounds in seen]
        pairs = [(one[name], other[name]) for one, other in zip(*seen, strict=True)] if len(seen) == 2 else []
        rows.append((name, "  against  ".join(columns) + (f":  {ratio(pairs)}" if pairs else "")))
    print_table(f"load {load} ({' against '.join(root.name for root in roots)}: ratio)", rows)


def compare_alone(servers: Sequence[LiveServer], count: int) -> None:
    """Both servers run at once: the one that is not asked does nothing."""
    if len(servers) < 2 or count < 2:
        return
    with servers[0], servers[1]:
        pairs = []
        for number in range(count):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            seconds = {index: measure_alone(servers[index], number) for index in order}
            pairs.append((seconds[0], seconds[1]))
    rows = []
    for place, name in enumerate(("by the clock, median (s)", "of the processor, median (s)")):
        rows.append((name, describe([(new[place], old[place]) for new, old in pairs])))
    print_table("one alone, 20 steps", rows)


def describe(pairs: Sequence[tuple[float, float]]) -> str:
    medians = [f"{statistics.median(pair[index] for pair in pairs):.3f}" for index in (0, 1)]
    return f"{'  against  '.join(medians)}:  {ratio(pairs)}"


if __name__ == "__main__":
    main()
