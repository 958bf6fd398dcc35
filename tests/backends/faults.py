"""Eight mixed requests in one session, any of which meets a fault at any place on its way; and what has to hold afterwards.

Nothing is faked but the fault: `strike` wraps the function that works at the place, and finds by its arguments whose work it is.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import io
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection
from PIL import Image

from api.files.models import StoredFile
from api.files.services import open_image, store_upload
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.images.hires import LATENT, HiresUse
from api.images.models import GeneratedImage
from api.images.session import ImageSession
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.jobs import lifecycle
from api.jobs.models import Job, Worker
from api.jobs.store import transitions
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader
from api.specs import InputMask, InputTransparentImage
from tests.backends.recorder import painting, psnr
from tests.jobs.invariants import broken_promises

PLAIN, PATIENT, EDITED, REPAINTED, ENLARGED, SEVERAL, CHOSEN, SMALL, ALONE = 1, 10, 20, 30, 40, 50, 60, 70, 80
"""The seeds of the requests; a request's pictures have this one and those after it."""
SAME_PICTURE = 40.0
"""dB: beside others a picture differs by rounding."""
ELSEWHERE = "elsewhere"
Act = Callable[..., object]


# ---------------------------------------------------------------- the requests


def submit_all(model_id: str = "sd1", side: int = 64) -> dict[int, Job]:
    """By their seeds: each of another owner, and other steps, scheduler, guidance, task and number of pictures."""
    picture, mask = upload(painting()), upload(half_white())
    edited = {"image": InputTransparentImage(picture), "strength": 0.7}
    asked: list[dict[str, Any]] = [
        {"seed": PLAIN, "steps": 4, "scheduler": "euler_a"},
        {"seed": PATIENT, "steps": 6, "scheduler": "dpmpp_2m"},
        {"seed": EDITED, "steps": 5, "scheduler": "heun", **edited},
        {"seed": REPAINTED, "steps": 4, "scheduler": "lms", **edited, "mask": InputMask(mask)},
        {"seed": ENLARGED, "steps": 3, "hires": HiresUse(scale=1.5, strength=0.6, upscaler=LATENT)},
        {"seed": SEVERAL, "steps": 3, "num_images": 3, "guidance_scale": 1.0, "scheduler": "ddim"},
        {"seed": CHOSEN, "steps": 2, "best_of": 3, "rank_by": "layout", "scheduler": "unipc"},
        {"seed": SMALL, "steps": 8, "width": side // 2, "guidance_scale": 1.0, "scheduler": "dpmpp_2m_sde"},
        {"seed": ALONE, "steps": 3, "deterministic": True},
    ]
    usual = {"model_id": model_id, "width": side, "height": side, "guidance_scale": 5.0}
    return {values["seed"]: submit(**{**usual, **values}) for values in asked}


def submit(seed: int, **fields: Any) -> Job:
    spec_class = Img2ImgSpec if "image" in fields else Txt2ImgSpec
    return lifecycle.submit_job(spec=spec_class(prompt=f"a red circle {seed}", seed=seed, **fields), owner_key=f"owner {seed}")


def upload(picture: Image.Image) -> str:
    written = io.BytesIO()
    picture.save(written, "PNG")
    return str(store_upload(owner_key="", data=written.getvalue()).pk)


def half_white() -> Image.Image:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    return mask.convert("RGB")


# ---------------------------------------------------------------- faults


class Strike:
    """A fault in the function `target` ("module:name"), before it works or `after`: in its calls for the request `seed` from the `first`
    on, as many as `times`; in `any_call`, where only that request gets there. `act` gets the call's arguments.
    """

    def __init__(
        self,
        target: str,
        seed: int,
        act: Act,
        ends: str = "internal_error",
        *,
        first: int = 1,
        times: int = 10**6,
        after: bool = False,
        any_call: bool = False,
    ) -> None:
        self.target, self.seed, self.act, self.ends = target, seed, act, ends
        self.first, self.times, self.after, self.any_call = first, times, after, any_call
        self.calls = 0

    @property
    def has_struck(self) -> bool:
        return self.calls >= self.first

    def hits(self, arguments: Any) -> bool:
        if not self.any_call and self.seed not in set(seeds_in(arguments)):
            return False
        self.calls += 1
        return self.first <= self.calls < self.first + self.times

    def put_into(self, patch: pytest.MonkeyPatch) -> None:
        module, _, name = self.target.partition(":")
        owner: Any = import_module(module)
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        original = getattr(owner, last)

        @functools.wraps(original)
        def struck(*arguments: Any, **options: Any) -> Any:
            hits = self.hits((arguments, options, sys._getframe(1).f_locals.get("rows")))
            if hits and not self.after:
                self.act(*arguments)
            result = original(*arguments, **options)
            if hits and self.after:
                self.act(*arguments)
            return result

        patch.setattr(owner, last, struck)


def raising(kind: type[BaseException], *values: object) -> Act:
    """A new one each time: an error keeps the frames that it went through."""

    def act(*arguments: object) -> None:
        raise kind(*values)

    return act


def spoiling(seed: int) -> Act:
    """Before a pass: values that are no numbers in the request's first row."""

    def act(unet: object, rows: Sequence[Row], *rest: object) -> None:
        row = next(row for row in rows if row.task.request.spec.seed == seed)
        row.latents = row.latents * float("nan")

    return act


def seeds_in(value: Any) -> Iterator[int]:
    """Of the requests that arguments belong to."""
    spec = getattr(value, "spec", None) or getattr(getattr(value, "running", None), "spec", None)
    if isinstance(value, Txt2ImgSpec):
        yield value.seed
    elif isinstance(spec, Txt2ImgSpec):
        yield spec.seed
    elif isinstance(value, Task):
        yield value.request.spec.seed
    elif isinstance(value, Row):
        yield value.task.request.spec.seed
    elif isinstance(value, Job):
        yield value.params["seed"]
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from seeds_in(one)
    elif isinstance(value, dict):
        yield from seeds_in(list(value.values()))
    elif hasattr(value, "run"):
        yield from seeds_in(value.run)


class Scene:
    """A worker here with the requests, and another one elsewhere."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}

    def run(self) -> Found:
        self.jobs, self.loop = submit_all(), WorkerLoop()
        self.other = Worker.objects.create(hostname="elsewhere", pid=1)
        while self.turn():
            pass
        return Found.read(self.jobs)

    def turn(self) -> bool:
        """As the loop makes it: whether there was anything to do."""
        try:
            return self.loop.run_once()
        except DatabaseError:
            connection.close()
            return True

    def cancel(self, seed: int) -> Act:
        """The lease keeper hears of it."""

        def act() -> None:
            lifecycle.cancel_job(job=self.jobs[seed])
            self.loop.keeper.turn(heard=True)

        return self.by_this_thread(act)

    def take_over(self, seed: int, *, is_noticed: bool) -> Act:
        """The job has lost its lease, and another worker makes it; here that is known at the end, or from a report of progress on."""

        def act() -> None:
            job = Job.objects.get(pk=self.jobs[seed].pk)
            lifecycle.hand_back(job=job, reason="Its worker stopped answering")
            Job.objects.filter(pk=job.pk).update(available_at=job.created_at)
            alone = "id = %s", [transitions.stored("id", job.pk)]
            [taken] = lifecycle.claim_jobs(worker=self.other, placement=alone)
            lifecycle.finish_job(job=taken, result={ELSEWHERE: True})
            if is_noticed:
                self.loop.publisher.turn()

        return self.by_this_thread(act)

    def by_this_thread(self, act: Callable[[], None]) -> Act:
        """Whichever it is: it lets go of the database again."""

        def acting(*arguments: object) -> None:
            act()
            if threading.current_thread() is not threading.main_thread():
                connection.close()

        return acting


# ---------------------------------------------------------------- what has to hold


@dataclass
class Found:
    """What became of the requests, by their seeds."""

    errors: dict[int, str] = field(default_factory=dict)
    """Status, or the code of the error."""
    pictures: dict[int, list[Image.Image]] = field(default_factory=dict)
    digests: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, jobs: dict[int, Job]) -> Found:
        found = cls()
        for seed, job in jobs.items():
            job.refresh_from_db()
            found.errors[seed] = job.error["code"] if job.error else job.status
            if ELSEWHERE in (job.result or {}):
                found.errors[seed] = ELSEWHERE
            rows = GeneratedImage.objects.filter(job=job).order_by("index")
            found.pictures[seed] = [open_image(row.file) for row in rows]
            found.digests[seed] = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in found.pictures[seed]]
        return found

    def differences(self, usual: Found, expected: dict[int, str]) -> list[str]:
        """`expected`: how those that were struck end; the others as usual. What is made alone has the same bytes in any case."""
        wrong = [] if self.digests[ALONE] == usual.digests[ALONE] else ["what is made alone has other bytes"]
        for seed, ended in self.errors.items():
            if ended != expected.get(seed, "succeeded"):
                wrong.append(f"{seed} ended with {ended}")
            pictures = usual.pictures[seed] if ended == "succeeded" else []
            if len(pictures) != len(self.pictures[seed]):
                wrong.append(f"{seed} has {len(self.pictures[seed])} pictures")
            for one, other in zip(self.pictures[seed], pictures, strict=False):
                if one.size != other.size or psnr(one, other) < SAME_PICTURE:
                    wrong.append(f"{seed} has another picture: {psnr(one, other) if one.size == other.size else one.size}")
        return wrong


def leftovers(loop: WorkerLoop, loader: ModelLoader) -> list[str]:
    """What a fault has left behind in this process, on the disk and in the tables."""
    files = {str(path.relative_to(settings.MEDIA_ROOT)) for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()}
    named = {name for pair in StoredFile.objects.values_list("name", "thumbnail_name") for name in pair if name}
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith(("pictures", "judges"))]
    checks = {
        "files without a row": files - named,
        "rows without a file": named - files,
        "threads": threads,
        "sessions": [*loop.sessions, *ImageSession._open],
        "runs that are held": loop.keeper.runs,
        "leases": list(Job.objects.exclude(lease_token=None)),
        "jobs that wait": list(Job.objects.filter(status="queued")),
        "models that are pinned": [model["id"] for model in loader.loaded() if model["pinned"]],
        "promises": broken_promises(),
    }
    return [f"{name}: {left}" for name, left in checks.items() if left]


@contextlib.contextmanager
def watching_memory() -> Iterator[Callable[[], list[str]]]:
    """Which rows, requests and pictures are still in memory when their jobs have ended, though nobody collected garbage."""
    seen: list[weakref.ref[Any]] = []
    gc.collect()
    gc.disable()
    logging.disable(logging.CRITICAL)  # pytest keeps what is logged, and errors keep their frames
    with pytest.MonkeyPatch.context() as patch:
        for watched in (Row, Task):
            init = watched.__init__

            def noting(self: Any, *arguments: Any, init: Any = init, **options: Any) -> None:
                init(self, *arguments, **options)
                seen.append(weakref.ref(self))

            patch.setattr(watched, "__init__", noting)
        try:
            yield lambda: sorted(type(one).__name__ for reference in seen if (one := reference()) is not None)
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
