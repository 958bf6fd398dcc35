"""Notifications: they wake a process that waits, and say no more than how much has happened. A lost one only delays, since rows decide.

On SQLite every process is on one machine: each subscriber binds a Unix datagram socket in the data folder. On PostgreSQL the database
itself carries notifications (LISTEN/NOTIFY), to other machines too.
"""

import hashlib
import itertools
import os
import socket
import tempfile
import time
from collections.abc import Iterable
from enum import IntEnum
from multiprocessing.connection import wait as wait_for_any  # unlike select: descriptors above 1,023, too
from pathlib import Path
from typing import Any, Literal, Protocol

import psycopg
from django.conf import settings
from django.db import connection

from api.jobs.store.statements import is_postgres, run

Channel = Literal["worker", "lease_keeper", "web", "webhooks"]
RECONNECT_SECONDS = 1.0
# What Django adds to the connection's parameters for itself (the adapters, the cursor class, timeouts of statements).
NOT_FOR_LISTENING = ("context", "cursor_factory", "options", "prepare_threshold")
_numbers = itertools.count()


class Heard(IntEnum):
    """What notifications tell. One whose word was lost may have been of anything."""

    NOTHING = 0
    STEP = 1
    """A job was claimed or is further than before: none has ended."""
    ANYTHING = 2


STEP = "s"
"""The word of a notification that tells of a step; others have none, or '!' where an empty one can't be sent."""


class Subscription(Protocol):
    def wait(self, timeout: float, *others: socket.socket) -> Heard:
        """What came within `timeout` seconds; pending ones are coalesced. What comes to `others` ends it, too."""

    def close(self) -> None: ...


def channel_name(channel: Channel) -> str:
    return f"darkroom_{channel}"


def notify(channel: Channel, word: str = "") -> None:
    """Wake every subscriber. Never blocks on one, and never raises for one that is gone."""
    if is_postgres():
        # A transaction that notifies writes a commit record; it needn't wait for the disk, since a lost notification only delays.
        run("SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)", [channel_name(channel), word])
    else:
        notify_sockets(channel, word)


def subscribe(channel: Channel) -> Subscription:
    return PostgresSubscription(channel) if is_postgres() else SocketSubscription(channel)


def socket_folder() -> Path:
    """`wakeups/` in the data folder; in the system's temporary folder where that path is too long for a socket's address."""
    folder = Path(settings.DATA_DIR) / "wakeups"
    if len(str(folder)) > 70:
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}-{digest}"
    return folder


def notify_sockets(channel: Channel, word: str = "") -> None:
    folder = str(socket_folder())
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return  # nobody has subscribed yet
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for name in names:
            if not name.startswith(f"{channel}."):
                continue
            path = os.path.join(folder, name)
            try:
                sender.sendto(word.encode() or b"!", path)
            except BlockingIOError:
                pass  # its buffer is full of notifications: it will wake
            except (ConnectionRefusedError, FileNotFoundError):
                Path(path).unlink(missing_ok=True)  # its process has ended


def drain(readable: socket.socket) -> set[bytes]:
    """All that a socket (which doesn't block) has."""
    received = set()
    try:
        while data := readable.recv(4096):
            received.add(data)
    except BlockingIOError:
        pass
    return received


def most_heard(words: Iterable[str]) -> Heard:
    return max((Heard.STEP if word == STEP else Heard.ANYTHING for word in words), default=Heard.NOTHING)


class SocketSubscription:
    def __init__(self, channel: Channel) -> None:
        folder = socket_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{channel}.{os.getpid()}.{next(_numbers)}"
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(self.path))

    def wait(self, timeout: float, *others: socket.socket) -> Heard:
        ready = wait_for_any([self.socket, *others], timeout)
        return most_heard(word.decode() for word in drain(self.socket)) if self.socket in ready else Heard.NOTHING

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


class PostgresSubscription:
    """A connection of its own that listens; a lost one is opened again, and counts as a notification."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel_name(channel)
        self.connection: psycopg.Connection | None = None
        try:
            self.connect()
        except psycopg.Error:
            pass  # `wait` tries again

    def connect(self) -> None:
        params = connection.get_connection_params()
        ours = {key: value for key, value in params.items() if key not in NOT_FOR_LISTENING}
        self.connection = psycopg.connect(**{**ours, "autocommit": True, "connect_timeout": 5})
        self.connection.execute(f"LISTEN {self.channel}")

    def wait(self, timeout: float, *others: socket.socket) -> Heard:
        try:
            if self.connection is None:
                self.connect()
                return Heard.ANYTHING
            readable: list[Any] = [self.connection, *others]
            ready: list[Any] = wait_for_any(readable, timeout)
            if self.connection not in ready:
                return Heard.NOTHING
            return most_heard(each.payload for each in self.connection.notifies(timeout=0))
        except psycopg.Error:
            self.close()
            time.sleep(min(timeout, RECONNECT_SECONDS))
            return Heard.ANYTHING

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
