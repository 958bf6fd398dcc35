"""Whether Celery's broker answers, and why not, as a sentence and its cure: for doctor, and for the start."""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

SECONDS = 3
LIMITS = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS, "read_timeout": SECONDS}
"""Redis's and RabbitMQ's: without them a server that speaks TLS, or does not, is waited for without end."""
SETTING = "CELERY_BROKER_URL"
REFUSED_LOGIN = ("authentication required", "username-password pair", "login was refused", "access_refused", "noauth", "noperm")
NO_SUCH_PLACE = ("db index is out of range", "vhost", "not_allowed")


class Trial(NamedTuple):
    """`reason` is '' where the broker answers."""

    place: str
    reason: str = ""
    cure: str = ""

    @property
    def sentence(self) -> str:
        return f"The broker {self.place} {self.reason}." if self.reason else f"The broker {self.place} answers"


def try_broker(url: str) -> Trial:
    """Takes some seconds at most."""
    from kombu import Connection

    with Connection(url, connect_timeout=SECONDS, transport_options={**LIMITS, "max_retries": 1}) as broker:
        place = broker.as_uri()  # without its password
        try:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=SECONDS)
        except Exception as error:  # every transport has exceptions of its own
            return Trial(place, *explain(error))
    return Trial(place)


def explain(error: BaseException) -> tuple[str, str]:
    """By what it was raised from, too: kombu's own error has no more than the text."""
    errors = list(chain(error))
    text = " ".join(str(each).lower() for each in errors)
    if any(words in text for words in REFUSED_LOGIN):
        return (
            "refuses the user or the password",
            f"Correct them in {SETTING}; what is no letter or digit there is written as %3A.",
        )
    if any(words in text for words in NO_SUCH_PLACE):
        return (
            "has no database or virtual host of this name for us",
            f"Correct what follows the host in {SETTING} (/0 for Redis, // for RabbitMQ's own), or make it there.",
        )
    if any(isinstance(each, ssl.SSLError) for each in errors) or "ssl" in text or "certificate" in text:
        return (
            f"fails at TLS: {first_line(error)}",
            f"Begin {SETTING} with rediss:// or amqps:// for TLS, redis:// or amqp:// without.",
        )
    if any(isinstance(each, socket.gaierror) for each in errors) or "name or service not known" in text:
        return "has a host that is not known", f"Correct the host in {SETTING}."
    if any(isinstance(each, OSError) and each.errno == errno.ECONNREFUSED for each in errors) or "refused" in text:
        return "does not answer: nothing listens there", f"Start it, or correct the host and the port in {SETTING}."
    cure = f"Look whether it is a broker of this kind, with TLS (rediss://, amqps://) or without, as {SETTING} says."
    return f"does not answer: {first_line(error)}", cure


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [error.__class__.__name__]
    return lines[0].rstrip(".")[:200]
