"""What stops a backup or its way back: always a sentence with the cure."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.errors import DarkroomError
from api.outages import is_disk_full


class BackupError(Exception):
    """The message is for the owner."""


@contextmanager
def errors_as_sentences(place: Path, again: str) -> Iterator[None]:
    """`place`: what fills up. `again`: what to do once the cause is gone."""
    try:
        yield
    except BackupError:
        raise
    except Exception as error:
        if is_disk_full(error) or (isinstance(error, DarkroomError) and error.status == 507):
            raise BackupError(f"The disk is full: {place} has no room for the next file. Free some space. {again}") from error
        if isinstance(error, OSError | DarkroomError):
            raise BackupError(f"{str(error).rstrip('.')}. {again}") from error
        raise
