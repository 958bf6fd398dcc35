"""Kinds of job as handlers write them, each with one habit that the queue must cope with."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from api.errors import DarkroomError, DeviceFault
from api.files import storage
from api.files.services import create_output
from api.images.models import GeneratedImage
from api.jobs import kinds
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import ChildJob, Finished, Outcome, RunningJob, Waiting
from api.quotas import Amount
from api.specs import StoredSpec


class Noop(JobKind):
    name = "noop"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        for run in batch:
            yield Finished(run, {"attempt": run.attempt})


@dataclass(frozen=True, kw_only=True)
class KeyedSpec(StoredSpec):
    def batch_key(self) -> str:
        return str(self.params.get("key", "same"))


class Batched(JobKind):
    """Tells in its result how many were run with it. One that `crashes` ends the process, and so the others with it."""

    name = "batched"
    spec_class = KeyedSpec
    max_batch = 4

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        if any(run.spec.params.get("crashes") for run in batch):
            os._exit(139)
        for run in batch:
            yield Finished(run, {"batch": len(batch)})


class Sleep(JobKind):
    """`steps` steps of `seconds` each, with progress; stops within a step."""

    name = "sleep"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        for run in batch:
            steps = run.spec.params.get("steps", 1)
            with run.measure("sleep"):
                for step in range(1, steps + 1):
                    run.raise_if_cancelled()
                    time.sleep(run.spec.params.get("seconds", 0.1))
                    run.progress(step=step, steps=steps, preview=b"jpeg" if run.spec.params.get("preview") else None)
            yield Finished(run, {})


class Together(JobKind):
    """Many at a time: `steps` steps of `seconds` each (of the first of them), with progress."""

    name = "together"
    spec_class = KeyedSpec
    max_batch = 64

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        first = batch[0].spec.params
        steps = first.get("steps", 4)
        for step in range(1, steps + 1):
            time.sleep(first.get("seconds", 0.1))
            for run in batch:
                run.progress(step=step, steps=steps)
        for run in batch:
            yield Finished(run, {})


class Stubborn(JobKind):
    """One long step that hears nothing, and then a result."""

    name = "stubborn"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        time.sleep(batch[0].spec.params["seconds"])
        yield Finished(batch[0], {"attempt": batch[0].attempt})


class Picture(JobKind):
    """Writes a picture and its thumbnail, and records them as the capability of images does."""

    name = "picture"

    def expected_sizes(self, spec: StoredSpec) -> Sequence[tuple[int, int]]:
        return [(16, 16)]

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        for run in batch:
            time.sleep(run.spec.params.get("seconds", 0))
            with run.measure("save"):
                image = Image.new("RGB", (16, 16), "teal")
                written = storage.write_image_files(run.spec.params.get("data", "not a real png").encode(), image, "png")
            yield Finished(run, written)

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        image = GeneratedImage.objects.create(
            file=create_output(job, output),
            job=job,
            index=0,
            owner_key=job.owner_key,
            model_id="none",
            prompt="",
            seed=0,
            steps=1,
            guidance_scale=0,
            width=output.width,
            height=output.height,
        )
        return {"image": str(image.pk)}

    def discard(self, output: Any) -> None:
        storage.remove_written(output)


class Unrecordable(Picture):
    """Its rows can't be made."""

    name = "unrecordable"

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        super().record(job, output)
        raise RuntimeError("a secret of the inside")


class Refuse(JobKind):
    name = "refuse"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        raise DarkroomError("refused", 422, "This was refused.")


class Broken(JobKind):
    name = "broken"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        raise RuntimeError("a secret of the inside")


class Silent(JobKind):
    """Returns without an outcome."""

    name = "silent"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        return iter(())


class Crash(JobKind):
    """Ends the process as a segmentation fault does, on each of its first `times` attempts."""

    name = "crash"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        if batch[0].attempt <= batch[0].spec.params.get("times", 1000):
            os._exit(139)
        yield Finished(batch[0], {"attempt": batch[0].attempt})


class Fault(JobKind):
    """The device fails once."""

    name = "fault"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        if batch[0].attempt == 1:
            raise DeviceFault
        yield Finished(batch[0], {"attempt": batch[0].attempt})


class Hang(JobKind):
    """Gives no sign of life, on its first attempt."""

    name = "hang"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        if batch[0].attempt == 1:
            time.sleep(3600)
        yield Finished(batch[0], {"attempt": batch[0].attempt})


class Tokens(JobKind):
    name = "tokens"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        for number in range(batch[0].spec.params.get("count", 3)):
            batch[0].emit("token", {"text": str(number)})
        yield Finished(batch[0], {})


class Parent(JobKind):
    """Asks for `count` children of the kind `child`, waits, and tells what became of them; `rounds` times, where that is said.

    Before each outcome it takes `seconds`. On its attempt `crash` of what it does before or after its children it ends the process.
    """

    name = "parent"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        for run in batch:
            children, count = run.children, run.spec.params.get("count", 1)
            with run.measure("parent"):
                time.sleep(run.spec.params.get("seconds", 0))
            run.raise_if_cancelled()
            if run.attempt == run.spec.params.get("crash_after" if children else "crash_before"):
                os._exit(139)
            if len(children) < count * run.spec.params.get("rounds", 1):
                run.warn(f"It waits for {count} more.")
                child = ChildJob(run.spec.params.get("child", "noop"), run.spec.params.get("child_params", {}))
                yield Waiting(run, [child] * count)
            else:
                yield Finished(run, {"children": [[str(child.pk), child.status, child.result] for child in children]})


class CountedParent(Parent):
    """A parent of which it is known when it is submitted how many children it asks for."""

    name = "counted_parent"

    def child_count(self, spec: StoredSpec) -> int:
        return int(spec.params["count"])

    def expected_children(self, spec: StoredSpec) -> Amount:
        child = kinds.get_kind(spec.params.get("child", "noop")).expected(spec)
        return Amount(*(int(spec.params["count"]) * each for each in child))


KINDS: tuple[JobKind, ...] = (
    Noop(), Batched(), Sleep(), Together(), Stubborn(), Picture(), Unrecordable(), Refuse(), Broken(), Silent(), Crash(), Fault(), Hang(),
    Tokens(), Parent(), CountedParent(),
)  # fmt: skip


def register_all() -> None:
    for kind in KINDS:
        kinds.register(kind)
