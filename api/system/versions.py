"""Which version each process of this server runs, and which of them differ from this one. Each says so of itself every 20 s, by a row."""

import hashlib
import logging
import os
import socket
import threading
from datetime import timedelta
from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now

from api.jobs.identifiers import uuid7
from api.jobs.models import Worker
from api.system.models import ServerProcess
from api.system.selectors import live_workers

log = logging.getLogger("darkroom.versions")
REPORT_SECONDS = 20.0
ALIVE = timedelta(seconds=3 * REPORT_SECONDS)
KEPT = timedelta(days=1)
CODE = ("api/**/*.py", "config/**/*.py", "templates/**/*.html")
_started: set[str] = set()


# ---------------------------------------------------------------- what this process is


@cache
def version() -> str:
    """The version's number and a digest of the code: two states of the code can have one number."""
    root = Path(settings.BASE_DIR)
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in root.glob(pattern)):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{settings.SPECTACULAR_SETTINGS['VERSION']}+{digest.hexdigest()[:8]}"


@cache
def known_migrations() -> int:
    return len(MigrationLoader(None).disk_migrations)


def key_fingerprint() -> str:
    """Tells two keys apart, and says nothing of either."""
    return hashlib.sha256(b"darkroom: fingerprint\0" + settings.SECRET_KEY.encode()).hexdigest()[:8]


def newer_migrations() -> list[str]:
    """Those of our apps that the database has and this version doesn't know: a newer version made them."""
    loader = MigrationLoader(connection)
    ours = {app for app, _ in loader.disk_migrations}
    return sorted(".".join(key) for key in loader.applied_migrations if key[0] in ours and not is_known(loader, key))


def is_known(loader: MigrationLoader, key: tuple[str, str]) -> bool:
    return key in loader.disk_migrations or any(key in migration.replaces for migration in loader.disk_migrations.values())


# ---------------------------------------------------------------- its row


def start_reporting(role: str) -> None:
    """In a thread of its own, once in a process."""
    if role not in _started:
        _started.add(role)
        threading.Thread(target=report_for_good, args=(role,), name="versions", daemon=True).start()


def report_for_good(role: str) -> None:
    made = ServerProcess(pk=uuid7(), role=role, hostname=socket.gethostname(), pid=os.getpid())
    made.version, made.migrations, made.key_fingerprint = version(), known_migrations(), key_fingerprint()
    wait = threading.Event()
    while True:
        try:
            report(made)
        except (DatabaseError, InterfaceError):
            log.debug("The database didn't answer", exc_info=True)
            connection.close()
        close_old_connections()
        wait.wait(REPORT_SECONDS)


def report(process: ServerProcess) -> None:
    if not ServerProcess.objects.filter(pk=process.pk).update(seen_at=Now()):
        ServerProcess.objects.bulk_create([process], ignore_conflicts=True)
        ServerProcess.objects.filter(seen_at__lt=Now() - KEPT).delete()


# ---------------------------------------------------------------- what the others are


def differences() -> list[str]:
    """A sentence for each process that runs another version than this one, or has another SECRET_KEY; [] where all agree."""
    alive = list(ServerProcess.objects.filter(seen_at__gte=Now() - ALIVE).order_by("hostname", "pid"))
    said = {(process.hostname, process.pid) for process in alive}
    silent = [
        worker
        for worker in live_workers()
        if (worker.hostname, worker.pid) not in said and worker.state != Worker.State.STARTING
    ]
    too_old = [f"{worker} runs a version that is too old to say which; this process runs {version()}." for worker in silent]
    return [sentence for process in alive if (sentence := difference(process))] + too_old


def difference(process: ServerProcess) -> str:
    if (process.version, process.migrations) != (version(), known_migrations()):
        theirs = f"{process} runs version {process.version} with {process.migrations} migrations, and this process "
        return f"{theirs}{version()} with {known_migrations()}."
    if process.key_fingerprint != key_fingerprint():
        return f"{process} has another SECRET_KEY than this process: give all the same one."
    return ""
