"""What is away is 503, what is full is 507: at every address, in the form that its clients read, and never a 500."""

import errno
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from psycopg_pool import ConnectionPool, PoolTimeout

from api.outages import outage_of
from config.postgres import base
from tests.live import LiveServer
from tests.postgres import OwnPostgres
from tests.system.test_every_address_is_closed import METHODS, addresses

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
PICTURE = {"prompt": "a lake", "steps": 1, "width": 64, "height": 64}
BODIES: dict[str, Any] = {
    "/api/txt2img/": PICTURE,
    "/api/score/": {"variant": {"layout": "centered"}},
    "/v1/chat/completions": CHAT,
    "/chat-server/v1/chat/completions": CHAT,
    "/generate": {"prompt": "a lake"},
    "/score": {"variant": {"layout": "centered"}},
}


def sqlite_error(code: int) -> Exception:
    error = sqlite3.OperationalError("not a client's business")
    error.sqlite_errorcode = code
    return raised_from(OperationalError("not a client's business"), error)


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


AWAY: list[Exception] = [
    OperationalError("the connection is lost"),
    InterfaceError("connection already closed"),
    raised_from(OperationalError("no"), PoolTimeout("couldn't get a connection after 3.00 sec")),
    raised_from(OperationalError("no"), psycopg.errors.AdminShutdown("terminating connection")),
    raised_from(OperationalError("no"), psycopg.errors.CannotConnectNow("starting up")),
    raised_from(OperationalError("no"), psycopg.errors.TooManyConnections("too many clients")),
    raised_from(InterfaceError("no"), psycopg.InterfaceError("the connection is closed")),
    sqlite_error(sqlite3.SQLITE_BUSY),
    sqlite_error(sqlite3.SQLITE_CANTOPEN),
    sqlite_error(sqlite3.SQLITE_IOERR_READ),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.EIO, "Input/output error"),
    RuntimeError("can't start new thread"),
    MemoryError(),
]
FULL: list[Exception] = [
    sqlite_error(sqlite3.SQLITE_FULL),
    raised_from(OperationalError("no"), psycopg.errors.DiskFull("could not extend file")),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]
OURS: list[Exception] = [
    sqlite_error(sqlite3.SQLITE_ERROR),  # a statement that is wrong
    raised_from(OperationalError("no"), psycopg.errors.UndefinedTable("no such table")),
    FileNotFoundError(errno.ENOENT, "No such file"),
    RuntimeError("something else"),
    ValueError("x"),
]


@pytest.mark.parametrize(("errors", "status"), [(AWAY, 503), (FULL, 507), (OURS, None)])
def test_an_error_tells_what_is_away_or_full(errors: list[Exception], status: int | None) -> None:
    assert [(error, getattr(outage_of(error), "status", None)) for error in errors] == [(error, status) for error in errors]


def test_an_error_is_known_through_those_that_were_raised_from_it() -> None:
    outer = raised_from(ValueError("while it was handled"), sqlite_error(sqlite3.SQLITE_FULL))
    assert outage_of(outer).code == "disk_full"  # type: ignore[union-attr]


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    def break_with(error: Exception) -> None:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise error

        for name in ("_cursor", "connect", "get_new_connection"):
            monkeypatch.setattr(BaseDatabaseWrapper, name, refuse)
        monkeypatch.setattr(type(connections["default"]), "run_prepared", refuse, raising=False)

    return break_with


def places() -> list[tuple[str, str]]:
    """The admin's pages and the static files too; a body where the address needs one to reach the database."""
    return [(method, address) for address in addresses() for method in METHODS]


def check_form(path: str, reply: Any, status: int, code: str) -> None:
    if path.startswith(("/v1/", "/chat-server/")):
        assert reply.json()["error"]["code"] == code
    elif path == "/" or path.startswith(("/admin/", "/studio/")):
        assert (reply["Content-Type"], str(status) in reply.content.decode()) == ("text/html; charset=utf-8", True)
    elif path.startswith("/api/"):
        assert (reply["Content-Type"], reply.json()["code"]) == ("application/problem+json", code)
    elif path.startswith("/hf/"):
        assert reply.json()["error_type"] == code
    elif path == "/mcp":
        assert reply.json()["error"]["data"] == {"status": status, "code": code}
    else:
        assert "detail" in reply.json()
    assert b"client's business" not in reply.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("not a client's business"), 503, "no_database"),
        (InterfaceError("not a client's business"), 503, "no_database"),
        (sqlite_error(sqlite3.SQLITE_FULL), 507, "disk_full"),
    ],
    ids=["away", "cut", "full"],
)
def test_no_address_answers_an_outage_with_a_500(breaks: Any, error: Exception, status: int, code: str) -> None:
    client = Client(raise_request_exception=False)
    breaks(error)
    told = Counter[int]()
    for method, address in places():
        data = {"data": BODIES.get(address, {}), "content_type": "application/json"} if method not in ("get", "head") else {}
        reply = getattr(client, method)(address, **data)
        told[reply.status_code] += 1
        assert reply.status_code < 500 or reply.status_code in (503, status), (method, address, reply.content)
        if reply.status_code == status and address != "/api/ready/":
            assert (reply.get("Retry-After") is not None) == (status == 503)
            if method != "head":
                check_form(address, reply, status, code)
    assert told[status] > 80, told


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", list(BODIES))
def test_a_submission_meets_an_outage_as_503(breaks: Any, path: str) -> None:
    breaks(OperationalError("away"))
    reply = Client(raise_request_exception=False).post(path, BODIES[path], content_type="application/json")
    assert (reply.status_code, reply["Retry-After"]) == (503, "5")


# ---------------------------------------------------------------- a PostgreSQL that is restarted


@pytest.mark.skipif(not OwnPostgres.can_be_had(), reason="PostgreSQL's programs are not here")
def test_a_database_that_restarts_costs_no_500_and_no_client_its_wait(tmp_path: Path) -> None:
    with OwnPostgres() as postgres, LiveServer(tmp_path, DATABASE_URL=postgres.url, DEVICE="cpu") as server:
        server.wait_until(lambda: server.answers("/api/ready/"), "a worker is ready")
        replies: list[httpx.Response] = []
        over = threading.Event()

        def ask(method: str, path: str, body: Any = None) -> None:
            with httpx.Client(base_url=server.url, timeout=120) as client:
                while not over.wait(0.2):
                    replies.append(client.request(method, path, json=body, headers={"Prefer": "respond-async"}))

        def wait_for_one() -> httpx.Response:
            body = {**PICTURE, "steps": 40, "priority": 100}
            return httpx.post(f"{server.url}/api/txt2img/", json=body, headers={"Prefer": "wait=100"}, timeout=120)

        def count(status: int) -> int:
            return [reply.status_code for reply in list(replies)].count(status)

        def wait_for_more(status: int, more: int) -> None:
            wanted = count(status) + more
            server.wait_until(lambda: count(status) >= wanted, f"{more} more replies are {status}")

        with ThreadPoolExecutor(12) as pool:
            waits = pool.submit(wait_for_one)
            asked = [pool.submit(ask, "POST", path, body) for path, body in BODIES.items()]
            asked += [pool.submit(ask, "GET", path) for path in ("/api/jobs/", "/", "/v1/models", "/metrics")]
            try:
                wait_for_more(202, 1)
                for _ in range(2):
                    time.sleep(1)
                    postgres.restart()
                postgres.stop()
                wait_for_more(503, 1)  # after as long as a request waits for a connection
                postgres.start()
                wait_for_more(202, 10)
            finally:
                over.set()
            for future in asked:
                future.result()
            assert [reply.text for reply in replies if reply.status_code >= 500 and reply.status_code != 503] == []
            assert all("retry-after" in reply.headers for reply in replies if reply.status_code == 503)
            assert waits.result().status_code == 201, waits.result().text


@pytest.mark.skipif(not OwnPostgres.can_be_had(), reason="PostgreSQL's programs are not here")
def test_the_pool_asks_a_connection_only_where_it_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    ask = ConnectionPool.check_connection
    monkeypatch.setattr(ConnectionPool, "check_connection", lambda conn: (asked.append(conn), ask(conn)))
    check: dict[str, Any] = {"connection_class": base.PooledConnection, "check": base.Pool.check_if_in_doubt}
    with OwnPostgres() as postgres, base.Pool(postgres.url, **check, min_size=1, max_size=1, open=True) as pool:

        def backend() -> int:
            with pool.connection() as conn:
                return conn.execute("SELECT pg_backend_pid()").fetchone()[0]  # type: ignore[index,no-any-return]

        first = backend()
        asked.clear()
        assert (backend(), len(asked)) == (first, 0)
        postgres.run_sql(f"SELECT pg_terminate_backend({first}, 5000)")
        assert (backend() != first, len(asked)) == (True, 2)  # the lost one, and the new one
        monkeypatch.setattr(base, "ALIVE_SECONDS", -1.0)  # as after a long silence
        assert (backend() > 0, len(asked)) == (True, 3)
