"""Where a worker is killed, and the hook in it that does that."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

ORDER = "KILL_PLACES_ORDER"
"""The environment variable with the path of the file that says at which place to die; the worker removes it first."""


@dataclass(frozen=True)
class Place:
    name: str
    target: str
    """ "module:function"."""
    call: int = 1
    """Which call, since the order came."""
    after: bool = False


ENGINE, SESSION = "api.images.backends.engine.engine:", "api.images.session:"
PLACES = [
    Place("joining", SESSION + "open_request", 3),
    Place("conditioning, encoding of a picture", ENGINE + "make_row", 4),
    Place("the first pass", ENGINE + "run_pass"),
    Place("a later pass", ENGINE + "run_pass", 6, after=True),
    Place("the second pass of hires", ENGINE + "make_second_row", after=True),
    Place("decoding", ENGINE + "decode_batch", 3),
    Place("a picture is handed on", ENGINE + "finish_row", 5, after=True),
    Place("candidates are scored, in a thread", "api.images.output_sinks:BestOfN._score_unscored", 2),
    Place("encoding of a file", "api.images.pictures:save_picture", 2),
    Place("between a file and its thumbnail", "api.files.storage:make_thumbnail", 3),
    Place("files are there, no rows", "api.jobs.worker.endings:finish", 4),
    Place("inside the transaction of the end", "api.images.handler:record_picture", 3, after=True),
    Place("behind the end's commit", "api.jobs.worker.endings:finish", 2, after=True),
    Place("progress is written, in a thread", "api.jobs.lifecycle:record_progress", 2),
]


def die_if_ordered(place: Place, seen: list[int]) -> None:
    order = Path(os.environ[ORDER])
    if not order.exists() or order.read_text() != place.name:
        return
    seen[0] += 1
    if seen[0] == place.call:
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
