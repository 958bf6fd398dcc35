"""What is told of a request after a pass: steps, now and then a preview, and its pictures.  [torch]"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

from api.errors import DarkroomError
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.images.backends.inputs import keep_outside_mask
from api.images.backends.previews import INTERVAL, encode_preview, estimate_clean
from api.images.spec import INPAINTING
from api.loading.device_memory import classify_error
from api.model_loader import Lease
from api.previews import Preview

logger = logging.getLogger("darkroom.models")


def report_step(lease: Lease, task: Task, rows: Sequence[Row], most_rows: int) -> None:
    """`rows`: those of the task that are in work, the ones that have just ended among them."""
    if not rows:
        return
    task.steps = rows[0].steps
    step, steps = count_steps(task, sum(row.steps_done for row in rows), most_rows)
    is_due = step < steps and time.monotonic() - task.last_preview >= INTERVAL
    task.hooks.on_step(step, steps, try_preview(lease, task, rows[0]) if is_due else None)


def try_preview(lease: Lease, task: Task, row: Row) -> Preview | None:
    """None where nobody watches, or it can't be made: that costs no picture, and is not tried again. Raises what a broken device does."""
    try:
        if not task.hooks.wants_preview():
            return None
        task.last_preview = time.monotonic()
        return make_preview(lease.pipeline, row)
    except Exception as error:
        if classify_error(error) == "fault":
            raise
        if classify_error(error) == "oom":
            lease.restore_offload()  # for what comes next
        logger.warning("a preview can't be made: %s: %s", type(error).__name__, error)
        task.last_preview = math.inf
        return None


def count_steps(task: Task, in_work: int, most_rows: int) -> tuple[int, int]:
    """(done, of how many). `in_work`: the steps of the task's rows, summed.

    Where all pictures can be in work at once, the steps of one of them; else summed over all.
    """
    done = task.steps * task.made + in_work
    return (done // task.pictures, task.steps) if task.pictures <= most_rows else (done, task.steps * task.pictures)


def make_preview(pipeline: Any, row: Row) -> Preview | None:
    if row.last_prediction is None:
        return None
    clean = estimate_clean(row.scheduler, *row.last_prediction)
    spec = row.task.request.spec
    return Preview(encode_preview(pipeline, clean, spec.width, spec.height), row.number)


def finish_row(row: Row, picture: Image.Image | DarkroomError) -> None:
    """Raises DarkroomError where there is no picture, or what takes it can't."""
    if isinstance(picture, DarkroomError):
        raise picture
    request = row.task.request
    row.task.finish_picture(row.number, keep_outside_mask(picture, request) if request.spec.task == INPAINTING else picture)
