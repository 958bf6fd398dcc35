"""A backend's hooks, answered by the runs of a batch. No torch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from api.images.spec import Txt2ImgSpec
from api.jobs.running import RunningJob
from api.safety.pictures.policy import may_be_previewed


class RunHooks:
    """See `api.images.backends.request.Hooks`; index i is the i-th run of the batch."""

    def __init__(self, runs: Sequence[RunningJob[Txt2ImgSpec]]) -> None:
        self.runs = runs

    def on_step(self, step: int, steps: int, previews: Sequence[bytes | None]) -> None:
        for run, preview in zip(self.runs, previews, strict=True):
            run.progress(step=step, steps=steps, preview=preview)

    def wants_preview(self, index: int) -> bool:
        return self.runs[index].watched and may_be_previewed(self.runs[index].owner_key)

    def on_load(self, fraction: float, text: str) -> None:
        """Told beside the steps that are done, until it is loaded."""
        for run in self.runs:
            step, steps = run.step_reached
            run.progress(step=step, steps=steps or run.spec.steps, stage=text if fraction < 1 else "")

    def cancelled(self, index: int) -> bool:
        return self.runs[index].cancelled

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            for run in self.runs:
                stack.enter_context(run.measure(name))
            yield

    def add_time(self, name: str, seconds: float, index: int | None = None) -> None:
        for run in self.runs if index is None else [self.runs[index]]:
            run.add_time(name, seconds)

    def warn_about(self, prompt: str, text: str) -> None:
        for run in self.runs:
            if run.spec.prompt == prompt:
                run.warn(text)

    def warn(self, text: str, index: int | None = None) -> None:
        for run in self.runs if index is None else [self.runs[index]]:
            run.warn(text)
