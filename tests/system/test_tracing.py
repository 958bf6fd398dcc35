"""One trace from a request through the queue to the stages in the worker, as a collector gets it over OTLP/HTTP."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import tracing
from api.system.trace_checks import check_traces
from config.extras import extra_requirements
from tests.jobs.conftest import TESTING_SETTINGS
from tests.live import ROOT, LiveServer

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytestmark = [pytest.mark.own_database, pytest.mark.slow]
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "far"}
ANSWER = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None}]},
    {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]


class Outside(ThreadingHTTPServer):
    """A collector, a receiver of webhooks and a remote chat server, which keep what they get."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.spans: list[Any] = []
        self.parents: dict[str, str | None] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def named(self, name: str, trace: str = TRACE) -> list[Any]:
        return [span for span in self.spans if span.name == name and span.trace_id.hex() == trace]

    def waits_for(self, *names: str, trace: str = TRACE, count: int = 1) -> list[Any]:
        """The first span of each name, when there are `count` of it."""
        deadline = time.monotonic() + 20
        while missing := [name for name in names if len(self.named(name, trace)) < count]:
            assert time.monotonic() < deadline, f"No {missing} among {sorted({span.name for span in self.spans})}"
            time.sleep(0.05)
        return [self.named(name, trace)[0] for name in names]


class Handler(BaseHTTPRequestHandler):
    server: Outside

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        content_type, reply = "application/x-protobuf", b""
        if self.path == "/v1/traces":
            request = trace_service.ExportTraceServiceRequest.FromString(body)
            self.server.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        else:
            self.server.parents[self.path] = self.headers["traceparent"]
        if self.path == "/chat/completions":
            content_type = "text/event-stream"
            reply = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in ANSWER).encode() + b"data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    server = Outside()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, outside: Outside) -> Iterator[LiveServer]:
    traces = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": outside.url, "OTEL_BSP_SCHEDULE_DELAY": 100}
    remote = {"CHAT_REMOTE_URL": outside.url, "CHAT_REMOTE_MODELS": "far", "WEBHOOK_ALLOW_PRIVATE": "true"}
    folder, usual = tmp_path_factory.mktemp("traced"), {"DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": TESTING_SETTINGS}
    with LiveServer(folder, **usual, **traces, **remote) as server:
        yield server


@pytest.fixture
def post(server: LiveServer) -> Callable[..., httpx.Response]:
    def post(path: str, body: Any, parent: str = f"00-{TRACE}-{CALLER}-01", **headers: str) -> httpx.Response:
        reply = server.client.post(path, json=body, headers={"traceparent": parent, **headers})
        assert reply.status_code in (200, 201, 202), reply.text
        return reply

    return post


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_one_trace_leads_from_the_request_to_the_stages_and_the_webhook(
    post: Any, outside: Outside, server: LiveServer
) -> None:
    asked = post("/api/test-jobs/", {"kind": "picture", "webhook": f"{outside.url}/hook"})
    job_id = asked.json()["id"]
    names = ("POST /api/test-jobs/", "queue", "job picture", "save", "storage write", "webhook")
    request, wait, job, save, write, webhook = outside.waits_for(*names)
    assert request.parent_span_id.hex() == CALLER
    assert attributes(request)["http.response.status_code"] == 201
    assert attributes(request)["darkroom.request.id"] == asked.headers["x-request-id"]
    assert {span.parent_span_id for span in (wait, job, webhook)} == {request.span_id}
    assert {span.parent_span_id for span in (save, write)} == {job.span_id}
    assert attributes(job)["darkroom.job.id"] == job_id
    assert (attributes(job)["darkroom.job.outcome"], attributes(job)["darkroom.job.attempt"]) == ("finished", 1)
    assert wait.end_time_unix_nano <= save.start_time_unix_nano <= save.end_time_unix_nano <= job.end_time_unix_nano
    assert attributes(webhook)["http.response.status_code"] == 200
    assert outside.parents["/hook"] == f"00-{TRACE}-{webhook.span_id.hex()}-01"
    line = next(line for line in server.log.read_text().splitlines() if "POST /api/test-jobs/ 201" in line)
    assert asked.headers["x-request-id"][-12:] in line
    assert f"trace {TRACE}" in line


def test_children_and_errors_belong_to_the_trace_of_their_parent(post: Any, outside: Outside) -> None:
    trace = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    post("/api/test-jobs/", {"kind": "parent", "params": {"child": "refuse"}}, f"00-{trace}-{CALLER}-01")
    [parent] = outside.waits_for("job parent", trace=trace, count=2)
    [child] = outside.waits_for("job refuse", trace=trace)
    assert child.parent_span_id == parent.span_id
    assert (child.status.message, attributes(child)["error.type"]) == ("refused", "refused")
    outcomes = [attributes(span)["darkroom.job.outcome"] for span in outside.named("job parent", trace)]
    assert outcomes == ["waiting", "finished"]


def test_jobs_of_one_batch_stay_in_their_traces_and_name_each_other(post: Any, outside: Outside) -> None:
    traces = ["bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccccccccccc"]
    post("/api/test-jobs/", {"kind": "sleep", "params": {"seconds": 2}}, Prefer="respond-async")
    for trace in traces:
        post("/api/test-jobs/", {"kind": "batched"}, f"00-{trace}-{CALLER}-01", Prefer="respond-async")
    first, second = (outside.waits_for("job batched", trace=trace)[0] for trace in traces)
    assert [link.span_id for link in first.links] == [second.span_id]
    assert [link.trace_id.hex() for link in second.links] == traces[:1]


def test_a_remote_server_gets_the_trace(post: Any, outside: Outside) -> None:
    trace = "dddddddddddddddddddddddddddddddd"
    body = {"model": "far", "messages": [{"role": "user", "content": "a secret"}]}
    post("/v1/chat/completions", body, f"00-{trace}-{CALLER}-01")
    remote, job = outside.waits_for("remote chat", "job chat", trace=trace)
    assert remote.parent_span_id == job.span_id
    assert outside.parents["/chat/completions"] == f"00-{trace}-{remote.span_id.hex()}-01"
    assert "a secret" not in str(outside.spans)


def test_what_the_caller_does_not_sample_is_not_sent(post: Any, outside: Outside) -> None:
    trace = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
    post("/api/test-jobs/", {"kind": "noop"}, f"00-{trace}-{CALLER}-00")
    other = "ffffffffffffffffffffffffffffffff"
    post("/api/test-jobs/", {"kind": "noop"}, f"00-{other}-{CALLER}-01")
    outside.waits_for("job noop", trace=other)
    assert [span.name for span in outside.spans if span.trace_id.hex() == trace] == []


def test_a_collector_that_is_away_fails_nothing(post: Any, outside: Outside, server: LiveServer) -> None:
    """The last of this server's: it ends the collector."""
    outside.shutdown()
    outside.server_close()
    for _ in range(3):
        assert post("/api/test-jobs/", {"kind": "noop"}).json()["status"] == "succeeded"
    assert "Traceback" not in server.log.read_text()


def test_a_collector_that_never_answers_holds_up_neither_spans_nor_the_end() -> None:
    code = """
import time
from api import tracing
from opentelemetry import trace
tracing.turn_on("1")
started = time.monotonic()
for _ in range(5000):  # more than wait in memory
    tracing.end_span(tracing.start_span("job", "", {}), {})
spent = time.monotonic() - started
tracing.shut_down(trace.get_tracer_provider())
print(spent, time.monotonic() - started - spent)
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
    spans, end = map(float, done.stdout.split())
    assert spans < 20  # they are ten batches, for each of which the exporter waits 10 s
    assert end < 9  # EXIT_SECONDS, and not even one batch


def test_without_the_setting_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    code = """
import config.asgi, sys
from django.test import Client
from api.jobs.worker.loop import WorkerLoop
reply = Client(HTTP_HOST="localhost").get("/api/health/", headers={"traceparent": "00-%s-%s-01"})
assert reply.status_code == 200
found = [name for name in sys.modules if name.startswith("opentelemetry")]
assert not found, found
"""
    environment = {"DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", code % (TRACE, CALLER)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wrong_setting_is_told_with_its_cure(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OTEL_TRACES_EXPORTER = "otlp"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setattr(tracing, "is_installed", lambda: False)
    missing, protocol = check_traces()
    assert (missing.id, protocol.id) == ("darkroom.E081", "darkroom.E082")
    assert ".venv/bin/python -m pip install -r requirements-otel.txt" in missing.hint
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in protocol.msg


def test_the_extra_is_installed_where_the_setting_asks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    assert "requirements-otel.txt" not in extra_requirements()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    assert "requirements-otel.txt" in extra_requirements()
