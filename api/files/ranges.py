"""The header Range: one part of a file. Several at once, and what is no range, are answered with the whole, as RFC 9110 allows."""

import re

from django.http import HttpRequest

RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class NotSatisfiable(Exception):
    """416: the file ends before the part begins."""


def read_range(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """Where the part begins, and where it ends (not included); None for the whole."""
    match = RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if not match or not any(match.groups()) or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if begin >= size:
        raise NotSatisfiable
    return begin, end
