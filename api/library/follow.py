"""The thread `library` of a worker process: scans the folders again and again, and computes hashes between two scans.

It lives in a worker, not in the web process: what it takes of the processor delays no request, and a worker sees the folders for
certain. Of several workers on one data folder, one does it.
"""

import logging
import os
import threading
import time

from django.conf import settings
from django.db import close_old_connections, connection

from api.jobs.worker.supervisor import lock_file
from api.library.hashing import REST, hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library

log = logging.getLogger("darkroom.library")
NICE = 19


def start_following() -> None:
    if settings.LIBRARY_DIRS:
        threading.Thread(target=follow, name="library", daemon=True).start()


def follow() -> None:
    """For good."""
    lower_priority()
    lock = None
    problems: set[str] = set()
    while True:
        next_scan = time.monotonic() + settings.LIBRARY_SCAN_SECONDS
        lock = lock or lock_file(settings.DATA_DIR / "library.lock")
        if lock is not None:
            problems = follow_once(problems, next_scan)
        time.sleep(max(0.0, next_scan - time.monotonic()))


def follow_once(known_problems: set[str], next_scan: float) -> set[str]:
    """One scan, and hashes until the time of the next. Returns its problems: each is logged once, and not at every scan."""
    problems = known_problems
    try:
        close_old_connections()
        report = scan_library()
        problems = set(report.problems)
        for problem in sorted(problems - known_problems):
            log.warning("%s", problem)
        if report.added or report.changed or report.missing:
            log.info("Library: %s", report)
        hash_rows(LibraryFile.objects.unhashed(), rest=REST, go_on=lambda: time.monotonic() < next_scan)
    except Exception:
        log.exception("The library can't be scanned; it is tried again")
    finally:
        connection.close()
    return problems


def lower_priority() -> None:
    """Of this thread alone, where the system can do that (Linux)."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except OSError:
        pass  # it is a courtesy
