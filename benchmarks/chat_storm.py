"""A thousand chats with random cancels, disconnects and stop strings, against a real server with a tiny model.

Ends with 1 if a job, a slot or a row is left over, an answer contains its stop string, or a stream ends without `[DONE]` or an error.

    python -m benchmarks.chat_storm --chats 1000
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.live import LiveServer

AT_ONCE = 12
MODEL = "tiny-llama"
ENDS = ("finish", "finish", "finish", "leave", "cancel", "time out")
CATALOG = '[models.tiny-llama]\nname = "Tiny Llama"\nfamily = "llama"\ntask = "text-generation"\npath = "{path}"\n'


class Storm:
    """`faults`: sentences about what should not have happened."""

    def __init__(self, url: str, seed: int) -> None:
        self.url, self.random = url, random.Random(seed)
        self.began = datetime.now(UTC)
        self.faults: list[str] = []
        self.ends: Counter[str] = Counter()

    async def run(self, chats: int) -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:

            async def one(number: int) -> None:
                async with gate:
                    await self.chat(client, number)

            await asyncio.gather(*(one(number) for number in range(chats)))

    async def chat(self, client: httpx.AsyncClient, number: int) -> None:
        draw = self.random
        end, stream = draw.choice(ENDS), draw.random() < 0.7
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"chat {number} " + "word " * draw.randrange(30)}],
            "max_tokens": draw.choice([1, 5, 20, 60, 200]),
            "temperature": draw.choice([0, 1, 1.5]),
            "n": draw.choice([1, 1, 1, 3]),
            "seed": number,
            "stop": draw.sample(["a", "e", "is", "re", "able", "squ", "zzz"], draw.randrange(4)),
            "stream": stream,
        }
        self.ends[f"{end}, {'stream' if stream else 'whole'}"] += 1
        try:
            await (self.read_stream if stream else self.read_whole)(client, body, end)
        except (httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
            if end == "finish":
                self.faults.append(f"chat {number}: {error!r}")

    def timeout(self, end: str) -> float:
        return self.random.uniform(0.02, 0.5) if end == "time out" else 120.0

    async def read_whole(self, client: httpx.AsyncClient, body: dict[str, Any], end: str) -> None:
        seconds = self.random.uniform(0.02, 0.5) if end in ("leave", "time out", "cancel") else 120.0
        reply = await client.post("/v1/chat/completions", json=body, timeout=seconds if end != "finish" else 120.0)
        if reply.status_code == 200:
            for choice in reply.json()["choices"]:
                self.check(choice["message"]["content"], body)
        elif reply.status_code != 409:
            self.faults.append(f"status {reply.status_code}: {reply.text[:200]}")

    async def read_stream(self, client: httpx.AsyncClient, body: dict[str, Any], end: str) -> None:
        texts: dict[int, str] = {}
        last, lines, until = "", 0, self.random.randrange(1, 12)
        async with client.stream("POST", "/v1/chat/completions", json=body, timeout=self.timeout(end)) as reply:
            if reply.status_code != 200:
                if reply.status_code != 409:
                    self.faults.append(f"status {reply.status_code}")
                return
            async for line in reply.aiter_lines():
                if not line.startswith("data: "):
                    continue
                last, lines = line[6:], lines + 1
                if last == "[DONE]":
                    break
                await self.hear(client, json.loads(last), texts, cancel=end == "cancel" and lines == until)
                if end == "leave" and lines == until:
                    return
        if last != "[DONE]" and '"error"' not in last:
            self.faults.append(f"a stream ended with {last[:100]!r}")
        for text in texts.values():
            self.check(text, body)

    async def hear(self, client: httpx.AsyncClient, chunk: dict[str, Any], texts: dict[int, str], *, cancel: bool) -> None:
        for choice in chunk.get("choices", []):
            texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
        if cancel and "job" in chunk:
            await client.post(f"/api/jobs/{chunk['job']}/cancel/")

    def check(self, text: str, body: dict[str, Any]) -> None:
        self.faults += [f"{stop!r} is in {text!r}" for stop in body["stop"] if stop in text]


def leftovers(server: LiveServer, storm: Storm) -> list[str]:
    """What a storm must not leave behind, a few seconds after it."""
    deadline = time.monotonic() + 20
    while (status := server.client.get("/api/status/").json())["queue"] != {"queued": 0, "running": 0}:
        if time.monotonic() > deadline:
            return [f"jobs are left: {status['queue']}"]
        time.sleep(0.2)
    states: Counter[str] = Counter()
    since = {"kind": "chat", "limit": 100, "created_after": storm.began.isoformat()}
    page = server.client.get("/api/jobs/", params=since).json()
    while True:
        states.update(job["status"] for job in page["results"])
        if not page["next"]:
            break
        page = server.client.get(page["next"]).json()
    print(f"jobs: {dict(states)}")
    faults = [f"{count} jobs are {state}" for state, count in states.items() if state not in ("succeeded", "cancelled")]
    chats = storm.ends.total()
    return faults + ([f"{states.total()} jobs of {chats} chats"] if states.total() > chats else [])


def is_warm(server: LiveServer) -> bool:
    return bool(server.client.get("/api/status/").json()["loaded_models"])


def worker_memory(server: LiveServer) -> float:
    """MiB of the server's worker process."""
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)
    return sum(child.memory_info().rss for child in family if "worker" in child.cmdline()) / 2**20


def main() -> int:
    options = ArgumentParser(description=__doc__)
    options.add_argument("--chats", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    from tests.models.tiny_chat import build_tiny_llama

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = folder / "models.toml"
        catalog.write_text(CATALOG.format(path=build_tiny_llama(folder / "llama")))
        with LiveServer(folder / "data", CATALOG_EXTRA=catalog, DATABASE_URL="", DEVICE="cpu") as server:
            server.wait_until(lambda: is_warm(server), "the worker has loaded what it loads when it is idle")
            storm = Storm(server.url, given.seed)
            asyncio.run(storm.run(max(20, given.chats // 10)))  # what a worker imports and allocates at first is no leak
            before, started = worker_memory(server), time.monotonic()
            asyncio.run(storm.run(given.chats))
            faults = storm.faults + leftovers(server, storm)
            print(f"{given.chats} chats in {time.monotonic() - started:.0f} s; {dict(storm.ends)}")
            print(f"worker: {before:.0f} MiB after a tenth of them before, {worker_memory(server):.0f} MiB after all")
    print("\n".join(faults[:20]) or "nothing is left over, no stop string was told, every stream had its end")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
