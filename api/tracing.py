"""Traces, by OpenTelemetry's SDK: off unless OTEL_TRACES_EXPORTER is otlp. The rest is said by OTEL_* variables, which the SDK reads.

Off, nothing of OpenTelemetry is imported, and these functions return at once. On, spans are sent by a thread of the SDK's own, which
drops what a collector that is away or slow does not take: nothing here waits for it. A job's row keeps the span that asked for it as
W3C's `traceparent`, so that a worker goes on with the trace. Attributes are ids, kinds and codes: no prompts, keys or addresses.
"""

import atexit
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

log = logging.getLogger("darkroom.server")
EXIT_SECONDS = 2.0
"""What a process that ends waits for a collector."""
Span = Any
Attributes = Mapping[str, str | int | float | bool]

_on = False
_version = ""
_tracer: Any = None
_making = threading.Lock()
_nothing: AbstractContextManager[Any] = nullcontext()


def is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def turn_on(version: str) -> None:
    """The SDK itself is imported with the first span."""
    global _on, _version
    _on, _version = is_installed(), version


def is_on() -> bool:
    return _on


def tracer() -> Any:
    global _tracer
    with _making:
        if _tracer is None:
            _tracer = make_tracer()
    return _tracer


def make_tracer() -> Any:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create(resource()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    atexit.register(shut_down, provider)
    return provider.get_tracer("darkroom", _version)


def resource() -> dict[str, str]:
    """Who says it himself (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) is not contradicted."""
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {"service.version": _version, "process.pid": str(os.getpid()), **({} if named else {"service.name": "darkroom"})}


def shut_down(provider: Any) -> None:
    """Sends what is left, in a thread that is not waited for longer than EXIT_SECONDS."""
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(EXIT_SECONDS)


# ---------------------------------------------------------------- the span at hand


def current_context() -> Any:
    """None where there is none, or traces are off."""
    if not _on or _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return context if context.is_valid else None


def trace_id() -> str:
    """As logs have it."""
    context = current_context()
    return f"{context.trace_id:032x}" if context else ""


def traceparent(span: Span = None) -> str:
    """Of a span, or of the one at hand; '' where there is none."""
    context = span.get_span_context() if span is not None else current_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}" if context else ""


def use(span: Span) -> AbstractContextManager[Any]:
    """What happens within belongs to this span, which goes on afterwards. Nothing for None."""
    if span is None:
        return _nothing
    from opentelemetry.trace import use_span

    return use_span(span, record_exception=False, set_status_on_exception=False)


def parent_context(parent: str | Mapping[str, str]) -> Any:
    """Of a `traceparent`, or of the headers of a request, in the forms that OTEL_PROPAGATORS names."""
    from opentelemetry.context import Context
    from opentelemetry.propagate import extract
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if isinstance(parent, str):
        return TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())
    return extract(parent, Context())


# ---------------------------------------------------------------- spans


@contextmanager
def request_span(method: str, headers: Mapping[str, str]) -> Iterator[Span]:
    """Of a request that has come, in the trace that its headers name."""
    from opentelemetry.trace import SpanKind

    lower = {name.lower(): value for name, value in headers.items()}
    span = tracer().start_span(method, parent_context(lower), SpanKind.SERVER, {"http.request.method": method})
    try:
        with use(span):
            yield span
    finally:
        span.end()


def describe_answer(span: Span, method: str, route: str, status: int, request_id: str) -> None:
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status, "darkroom.request.id": request_id})
    if status >= 500:
        fail(span, str(status))


def start_span(name: str, parent: str, attributes: Attributes) -> Span:
    """Of work that a message asked for, and whose end is told by `end_span`. None where traces are off."""
    if not _on:
        return None
    from opentelemetry.trace import SpanKind

    return tracer().start_span(name, parent_context(parent), SpanKind.CONSUMER, dict(attributes))


def link(spans: Sequence[Span]) -> None:
    """Those that are worked on together name each other."""
    for span in spans:
        for other in spans:
            if span is not None and other is not None and other is not span:
                span.add_link(other.get_span_context(), {"darkroom.link": "batch"})


def end_span(span: Span, attributes: Attributes, error: str = "") -> None:
    span.set_attributes(dict(attributes))
    if error:
        fail(span, error)
    span.end()


def fail(span: Span, error: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, error))
    span.set_attribute("error.type", error)


def record_span(name: str, parent: Span | str, start: float, end: float, attributes: Attributes) -> None:
    """What has been, from `start` to `end` (seconds since 1970)."""
    from opentelemetry.trace import set_span_in_context

    context = parent_context(parent) if isinstance(parent, str) else set_span_in_context(parent)
    span = tracer().start_span(name, context, attributes=dict(attributes), start_time=nanoseconds(start))
    span.end(nanoseconds(max(start, end)))


def nanoseconds(seconds: float | datetime) -> int:
    return int((seconds.timestamp() if isinstance(seconds, datetime) else seconds) * 1e9)


def since_1970(monotonic: float) -> float:
    """A moment of this process's own clock."""
    return time.time() - (time.monotonic() - monotonic)


def part(name: str, attributes: Attributes) -> AbstractContextManager[Any]:
    """A part of the span at hand; nothing where there is none."""
    return _nothing if current_context() is None else inner_span(name, None, "INTERNAL", attributes)


def call(name: str, attributes: Attributes, parent: str = "") -> AbstractContextManager[dict[str, str]]:
    """Around a request to another server: gives the headers that let it go on with the trace; {} where there is no trace."""
    if not _on or not (parent or current_context()):
        return nullcontext({})
    return inner_span(name, parent or None, "CLIENT", attributes)


def describe_reply(status: int | None) -> None:
    """To the call at hand: what came back, None for nothing."""
    if current_context() is not None:
        from opentelemetry.trace import get_current_span

        span = get_current_span()
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if status is None or status >= 400:
            fail(span, str(status or "unreachable"))


@contextmanager
def inner_span(name: str, parent: str | None, kind: str, attributes: Attributes) -> Iterator[dict[str, str]]:
    """An error that passes is told by its class: its text may hold an address or a key."""
    from opentelemetry.propagate import inject
    from opentelemetry.trace import SpanKind

    headers: dict[str, str] = {}
    span = tracer().start_span(name, parent_context(parent) if parent else None, SpanKind[kind], dict(attributes))
    try:
        with use(span):
            inject(headers)
            yield headers
    except Exception as error:
        fail(span, type(error).__name__)
        raise
    finally:
        span.end()
