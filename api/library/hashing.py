"""The hashes by which people name files: sha256 (AutoV2 is its beginning), that of the tensors alone (AutoV3), and A1111's first one.

They are computed after the listing, one file after the other, and kept until the file's size or time changes.
"""

import hashlib
import logging
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import QuerySet

from api.library.models import LibraryFile

log = logging.getLogger("darkroom.library")
CHUNK = 4 * 2**20
SHORT_START, SHORT_LENGTH, SHORT_DIGITS = 0x100000, 0x10000, 8
PREFIX = 8
REST = 1.0
"""In the background: seconds of rest for each second of reading, so that models load beside it."""


class FileChanged(Exception):
    """While it was read."""


@dataclass(frozen=True)
class Hashes:
    sha256: str
    content_sha256: str
    short_hash: str


def hash_file(path: str, *, rest: float = 0.0) -> Hashes:
    """Raises OSError, and FileChanged."""
    whole, content, short = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    with open(path, "rb") as stream:
        before = os.fstat(stream.fileno())
        start = content_start(stream.read(PREFIX), path)
        stream.seek(0)
        place = 0
        started = time.monotonic()
        while chunk := stream.read(CHUNK):
            whole.update(chunk)
            content.update(memoryview(chunk)[max(0, start - place) :])
            short.update(memoryview(chunk)[max(0, SHORT_START - place) : max(0, SHORT_START + SHORT_LENGTH - place)])
            place += len(chunk)
            if rest:
                time.sleep((time.monotonic() - started) * rest)
                started = time.monotonic()
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileChanged
    has_short = place > SHORT_START  # A1111's would be the same one for all files that end before
    return Hashes(
        whole.hexdigest(),
        content.hexdigest() if start else "",
        short.hexdigest()[:SHORT_DIGITS] if has_short else "",
    )


def content_start(prefix: bytes, path: str) -> int:
    """Where a safetensors file's tensors begin; 0 for other files, which have no such hash."""
    if not path.lower().endswith(".safetensors") or len(prefix) < PREFIX:
        return 0
    return PREFIX + int(struct.unpack("<Q", prefix)[0])


def hash_row(row: LibraryFile, *, rest: float = 0.0) -> bool:
    """Whether its hashes are known now. A file that changes meanwhile is left for the time after the next scan."""
    try:
        status = os.stat(row.path)
        if (status.st_size, status.st_mtime_ns) != (row.size, row.mtime_ns):
            return False
        found = hash_file(row.path, rest=rest)
    except FileChanged:
        return False
    except OSError as error:
        log.warning("%r can't be hashed: %s", row.path, error.strerror)
        return False
    same = LibraryFile.objects.filter(pk=row.pk, size=row.size, mtime_ns=row.mtime_ns)
    values = {"sha256": found.sha256, "content_sha256": found.content_sha256, "short_hash": found.short_hash}
    return bool(same.update(**values))


def hash_rows(
    rows: QuerySet[LibraryFile],
    *,
    rest: float = 0.0,
    go_on: Callable[[], bool] = lambda: True,
    tell: Callable[[str], None] = log.debug,
) -> int:
    """Small files first, as long as `go_on` says so. How many there were."""
    count = 0
    for row in rows.only("path", "size", "mtime_ns").order_by("size", "pk"):
        if not go_on():
            break
        tell(row.path)
        count += hash_row(row, rest=rest)
    return count
