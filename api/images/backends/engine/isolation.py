"""One request's error ends that request, and none of those that share its passes.  [torch; no Django]

What passes through here is no request's own: a device that is broken, and memory that runs out, against which there are measures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from api.errors import DarkroomError
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.loading.device_memory import OutOfMemory, classify_error

logger = logging.getLogger("darkroom.models")


@contextmanager
def failing_alone(task: Task) -> Iterator[None]:
    try:
        yield
    except DarkroomError as error:
        task.fail(error)
    except Exception as error:
        if classify_error(error) != "error":
            raise
        task.fail(task.hooks.explain(error))


@contextmanager
def only_once(row: Row) -> Iterator[None]:
    """Around what can't be done again where memory runs out in it: a step by a scheduler's object, the handing on of a picture."""
    try:
        with failing_alone(row.task):
            yield
    except Exception as error:
        if classify_error(error) != "oom":
            raise
        row.task.fail(OutOfMemory("Memory ran out beside the model's work: ask for a smaller picture."))


def try_together(rows: Sequence[Row], work: Callable[[Sequence[Row]], None]) -> None:
    """`work` with all rows; where that fails, with each alone: an error is the fault of those with which it comes again."""
    if len(rows) > 1:
        try:
            return work(rows)
        except Exception as error:
            if classify_error(error) != "error":
                raise
            logger.warning("work on %d pictures together failed; each is tried alone", len(rows), exc_info=True)
    for row in rows:
        with failing_alone(row.task):
            work([row])
