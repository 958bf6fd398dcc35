"""How many connections are open, and for how long: a server with few descriptors, and clients that say almost nothing."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from config import descriptors
from config.web_worker import READ_SECONDS
from tests.live import LiveServer

DESCRIPTORS = 64
FEW = ["bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "bash"]


class FewDescriptors(LiveServer):
    prefix = FEW


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("connections"), JOB_RUNNER="external", DATABASE_URL="") as live:
        yield live


def web_process(server: LiveServer) -> psutil.Process:
    [web] = psutil.Process(server.process.pid).children()  # type: ignore[union-attr]
    return web


# ---------------------------------------------------------------- how many


async def ask_at_once(url: str, path: str, count: int) -> Counter[int | str]:
    told: Counter[int | str] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=count)) as client:
        for reply in await asyncio.gather(*(client.get(path) for _ in range(count)), return_exceptions=True):
            told[reply.status_code if isinstance(reply, httpx.Response) else repr(reply)] += 1
    return told


def test_two_hundred_connections_are_answered_with_64_descriptors(tmp_path: Path) -> None:
    with FewDescriptors(tmp_path, JOB_RUNNER="external", DATABASE_URL="") as server:
        server.client.close()
        before = len(server.log.read_text().splitlines())
        for path in ("/api/health/", "/api/jobs/", "/api/models/", "/"):
            assert asyncio.run(ask_at_once(server.url, path, 200)) == {200: 200}, path
        log = server.log.read_text().splitlines()[before:]
        assert len([line for line in log if " GET " not in line]) <= 2, log
        assert any("connections are in use" in line for line in log)


def test_a_server_with_few_descriptors_waits_in_peace_while_all_connections_are_held(tmp_path: Path) -> None:
    """And lets the next in when one is free."""
    with FewDescriptors(tmp_path, JOB_RUNNER="external", DATABASE_URL="") as server:
        server.client.close()
        web = web_process(server)

        async def hold() -> float:
            held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(60)]
            before = sum(web.cpu_times()[:2])
            await asyncio.sleep(5)
            used = sum(web.cpu_times()[:2]) - before
            for _, writer in held:
                writer.close()
            return used

        assert asyncio.run(hold()) < 0.5
        assert httpx.get(f"{server.url}/api/health/", timeout=10).status_code == 200


def test_the_soft_limit_is_raised_at_the_start(tmp_path: Path) -> None:
    class LowSoftLimit(LiveServer):
        prefix = ["bash", "-c", 'ulimit -S -n 256; exec "$@"', "bash"]

    with LowSoftLimit(tmp_path, JOB_RUNNER="external", DATABASE_URL="") as server:
        soft, hard = web_process(server).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(hard, descriptors.ENOUGH)


@pytest.mark.parametrize(("limit", "threads", "connections"), [(64, 2, 16), (1024, 6, 488), (10_240, 6, 4_096)])
def test_connections_and_threads_follow_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, threads: int, connections: int
) -> None:
    monkeypatch.setattr(descriptors, "MOST_THREADS", 6)
    monkeypatch.setattr(descriptors, "limit", lambda: limit)
    assert (descriptors.most_threads(), descriptors.most_connections()) == (threads, connections)
    assert descriptors.OWN + 4 * threads + 2 * connections <= limit


def test_a_connection_that_is_idle_serves_another_request(server: LiveServer) -> None:
    with httpx.Client(base_url=server.url) as client:
        first, second = client.get("/api/health/"), client.get("/api/health/")
    assert first.extensions["network_stream"] is second.extensions["network_stream"]
    assert "connection" not in second.headers


# ---------------------------------------------------------------- how long


HEAD = b"POST /api/txt2img/ HTTP/1.1\r\nHost: localhost\r\n"
BODY = HEAD + b"Content-Type: application/json\r\nContent-Length: 90000\r\n\r\n"


async def drip(port: int, beginning: bytes, piece: bytes, every: float, seconds: float) -> tuple[bytes, float]:
    """What the server said, and after how many seconds it closed (`seconds` where it did not)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    writer.write(beginning)
    said = asyncio.ensure_future(reader.read())
    while not said.done() and time.monotonic() - started < seconds:
        await asyncio.sleep(every)
        if piece and not said.done():
            writer.write(piece)
    ended = time.monotonic() - started
    writer.close()
    if not said.done():
        said.cancel()
        return b"", seconds
    return said.result(), ended


def test_what_does_not_arrive_in_time_is_ended(server: LiveServer) -> None:
    """A byte now and then is not in time; an upload over a slow line is."""

    async def all_of_them() -> list[tuple[bytes, float]]:
        slow = [drip(server.port, beginning, b"a", 2, 40) for beginning in [HEAD + b"X: ", BODY] * 50]
        others = [drip(server.port, b"", b"", 1, 40), drip(server.port, BODY, b"a" * 2048, 1, 30)]
        return await asyncio.gather(*slow, *others)

    *slow, silent, steady = asyncio.run(all_of_them())
    for said, ended in slow:
        assert READ_SECONDS - 1 < ended < READ_SECONDS + 10
        head, _, body = said.partition(b"\r\n\r\n")
        assert (head.split(b"\r\n")[0], json.loads(body)["code"]) == (b"HTTP/1.1 408 Request Timeout", "request_timeout")
        assert b"Content-Type: application/problem+json" in head
    assert (silent[0], silent[1] < READ_SECONDS + 10) == (b"", True)
    assert steady == (b"", 30)
    server.wait_until(lambda: len(web_process(server).net_connections("tcp")) <= 3, "they are gone")


def test_what_gunicorn_refuses_has_the_form_of_its_address(server: LiveServer) -> None:
    async def ask(text: bytes) -> bytes:
        return (await drip(server.port, text, b"", 0.1, 5))[0]

    said = asyncio.run(ask(b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n"))
    assert said.startswith(b"HTTP/1.1 400 Bad Request")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "bad_request"
