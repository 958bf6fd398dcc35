"""The pool of threads for Django's sync code."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.core.signals import request_started

from config.thread_pool import RecentFirstExecutor
from config.threads import Handler, SharedThreads


@pytest.fixture
def pool():
    pool = RecentFirstExecutor(3, "pool")
    yield pool
    pool.shutdown()


def held(pool, count):
    """So many threads that are busy, and what lets them go."""
    go, ready = threading.Event(), threading.Barrier(count + 1)
    calls = [pool.submit(lambda: (ready.wait(5), go.wait(5), threading.current_thread().name)[-1]) for _ in range(count)]
    ready.wait(5)
    return calls, go


def test_calls_one_after_another_have_the_same_thread(pool):
    calls, go = held(pool, 3)
    go.set()
    wait(calls)
    assert len({pool.submit(lambda: threading.current_thread().name).result(5) for _ in range(20)}) == 1


def test_there_are_no_more_threads_than_said_and_the_other_calls_wait(pool):
    calls, go = held(pool, 3)
    waiting = [pool.submit(lambda: threading.current_thread().name) for _ in range(5)]
    time.sleep(0.05)
    assert not any(call.done() for call in waiting)
    go.set()
    assert {call.result(5) for call in waiting} <= {call.result(5) for call in calls}


def test_what_a_call_raises_is_its_callers(pool):
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(5)
    assert pool.submit(lambda: 7).result(5) == 7


def test_a_waiting_call_that_is_cancelled_is_not_run(pool):
    _, go = held(pool, 3)
    ran = []
    cancelled, other = pool.submit(ran.append, "cancelled"), pool.submit(ran.append, "other")
    assert cancelled.cancel()
    go.set()
    other.result(5)
    assert ran == ["other"]


def test_a_thread_that_could_not_be_started_leaves_the_pool_usable(pool, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", fail)
        for _ in range(5):
            with pytest.raises(RuntimeError):
                pool.submit(int)
    assert pool.submit(lambda: 7).result(5) == 7


def fail(*arguments):
    raise RuntimeError("can't start new thread")


SCOPE = {
    "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/api/health/", "raw_path": b"/api/health/",
    "query_string": b"", "root_path": "", "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
}  # fmt: skip


@pytest.mark.django_db
async def test_an_answer_is_rendered_in_the_thread_that_its_view_ran_in(monkeypatch):
    """Two turns of a thread: the view's, and once the answer was sent, its end."""
    turns, sent, received = [], [], iter([{"type": "http.request", "body": b"", "more_body": False}])
    monkeypatch.setattr(request_started, "receivers", [])  # config.asgi disconnects Django's
    submit = SharedThreads.submit
    monkeypatch.setattr(SharedThreads, "submit", lambda self, *call: turns.append(len(sent)) or submit(self, *call))

    async def receive():
        if message := next(received, None):
            return message
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    await Handler()(SCOPE, receive, send)
    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"]) == {"status": "ok"}
    assert turns == [0, len(sent)]
