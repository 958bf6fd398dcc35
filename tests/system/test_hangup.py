"""`kill -HUP` to gunicorn's main process: new web processes with the settings of now, and no request fails meanwhile."""

import asyncio
import signal
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psutil
import pytest

from config import reloading
from config.web_worker import WebWorker
from tests.live import LiveServer

CLIENTS = 4


class Clients:
    """Some that keep their connection, and some that don't; none tries anything again."""

    def __init__(self, url: str) -> None:
        self.url, self.ended, self.answers = url, threading.Event(), Counter[str]()
        self.threads = [threading.Thread(target=self.ask, args=(number % 2 == 0,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def ask(self, keeps: bool) -> None:
        headers = {} if keeps else {"Connection": "close"}
        with httpx.Client(base_url=self.url, timeout=60, headers=headers) as client:
            while not self.ended.wait(0.02):
                try:
                    self.answers[str(client.get("/api/jobs/?limit=1").status_code)] += 1
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1


def web_processes(server: LiveServer) -> set[int]:
    assert server.process is not None
    return {child.pid for child in psutil.Process(server.process.pid).children()}


def hang_up(server: LiveServer) -> None:
    """Until only new processes are there."""
    assert server.process is not None
    old = web_processes(server)
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(
        lambda: len(web_processes(server)) == 3 and not web_processes(server) & old, "the old processes have ended"
    )
    server.wait_until(lambda: server.answers("/api/health/"), "a new one answers")


def most_bytes(server: LiveServer) -> str:
    reply = server.client.post("/api/txt2img/", content=b" " * (3 * 2**20), headers={"Content-Type": "application/json"})
    return str(reply.json()["detail"])


def test_no_request_fails_and_the_settings_of_now_count(tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text("MAX_BODY_BYTES=1M\n")
    with LiveServer(tmp_path / "data", WEB_PROCESSES=3, JOB_RUNNER="external", ENV_FILE=file) as server:
        assert "the limit of 1 MiB" in most_bytes(server)
        with Clients(server.url) as clients:
            server.wait_until(lambda: clients.answers["200"] > 10, "requests are answered")
            file.write_text("MAX_BODY_BYTES=2M\n")
            hang_up(server)
            before = clients.answers["200"]
            server.wait_until(lambda: clients.answers["200"] > before + 10, "new processes answer")
        assert set(clients.answers) == {"200"}, clients.answers
        assert "the limit of 2 MiB" in most_bytes(server)

        file.write_text("MAX_BODY_BYTES=many\n")
        hang_up(server)
        assert "the limit of 2 MiB" in most_bytes(server)
        assert "The old settings stay: MAX_BODY_BYTES must be" in server.log.read_text()


def test_code_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of ours that the main process has, but what reads it."""
    modules: dict[str, Any] = {
        name: ModuleType(name) for name in ("config.settings", "api.specs", "config", "config.reloading", "apis")
    }
    modules["config.settings"].ENV_FILE_LINES = {"GIVEN": 1, "OF_FILE": 2}
    monkeypatch.setattr(reloading, "_given", {"GIVEN": "1"})
    for name in ("GIVEN", "OF_FILE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "modules", modules)
    found, variables = reloading.forget()
    assert set(found) == {"config.settings", "api.specs"}
    assert variables == {"OF_FILE": "1"}
    assert set(modules) == {"config", "config.reloading", "apis"}


def test_who_is_being_let_in_when_the_process_is_asked_to_stop_is_not_lost() -> None:
    async def stop_meanwhile() -> list[str]:
        worker, seen = object.__new__(WebWorker), list[str]()
        worker.loop, worker.entering, worker.left = asyncio.get_running_loop(), set(), asyncio.Event()
        worker.nr_conns, worker.worker_connections = 0, 10

        async def slow(client: socket.socket) -> None:
            seen.append("begun")
            await asyncio.sleep(0.05)
            seen.append("in")
            client.close()

        worker.connect = slow  # type: ignore[method-assign]
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client, socket.socket() as later:
            accepting = worker.loop.create_task(worker.accept(listener))
            client.connect(listener.getsockname())
            while not seen:
                await asyncio.sleep(0)
            later.connect(listener.getsockname())
            accepting.cancel()
            await asyncio.gather(accepting, *worker.entering, return_exceptions=True)
            listener.accept()[0].close()  # nobody has taken the second one and lost it
        return seen

    assert asyncio.run(stop_meanwhile()) == ["begun", "in"]
