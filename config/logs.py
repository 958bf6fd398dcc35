"""Logs: one JSON object a line for machines, readable text on a terminal; both carry the request's, the job's and the trace's id."""

import json
import logging
import sys
from contextvars import ContextVar

from api.tracing import trace_id

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")

STANDARD = set(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}


class ContextFilter(logging.Filter):
    """Puts the ids of the request, the job and the trace at hand on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = getattr(record, "request_id", "") or request_id.get()
        record.job_id = getattr(record, "job_id", "") or job_id.get()
        record.trace_id = getattr(record, "trace_id", "") or trace_id()
        return True


class OnlyExceptions(logging.Filter):
    """Django logs every reply of 400 and more; we have a line for each request already, and want its tracebacks only."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info)


class OneLineRefusals(logging.Filter):
    """What Django refuses as suspicious (a foreign Host, too many fields) is a client's doing: one line, or a scanner fills the disk."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = None
        return True


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {k: v for k, v in record.__dict__.items() if k not in STANDARD and v not in ("", None)}
        line |= {k: v for k, v in extra.items() if isinstance(v, str | int | float | bool)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        ids = [getattr(record, name)[-12:] for name in ("request_id", "job_id") if getattr(record, name, "")]
        if trace := getattr(record, "trace_id", ""):
            ids.append(f"trace {trace}")
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {record.getMessage()}"
        text += f"  [{' '.join(ids)}]" if ids else ""
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def logging_config(style: str, level: str) -> dict[str, object]:
    """`style`: text, json or auto (text where standard error is a terminal)."""
    readable = style == "text" or (style == "auto" and sys.stderr.isatty())
    formatter = "config.logs.TextFormatter" if readable else "config.logs.JsonFormatter"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "context": {"()": "config.logs.ContextFilter"},
            "exceptions": {"()": "config.logs.OnlyExceptions"},
            "refusals": {"()": "config.logs.OneLineRefusals"},
        },
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["context", "refusals"]}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "darkroom": {"level": level},
            "django": {"level": "INFO"},
            "opentelemetry": {"level": "ERROR"},
            "psycopg.pool": {
                "level": "ERROR"
            },  # it warns of each try, in several lines; who asked for a connection says so once
            "django.request": {"level": "ERROR", "filters": ["exceptions"]},
        },
    }
