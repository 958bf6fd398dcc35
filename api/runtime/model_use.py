"""What handlers that use a model share: loading reported as the jobs' progress, times measured for a whole batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from api.jobs.errors import JobCancelled
from api.jobs.running import RunningJob
from api.specs import Spec

LOADING_STEPS = 100


def report_to(runs: Sequence[RunningJob[Spec]]) -> Callable[[float, str], None]:
    """For `on_progress` of the loader. Loading stops when nobody wants the model any more."""

    def report(fraction: float, text: str) -> None:
        raise_if_unwanted(runs)
        for run in runs:
            run.progress(step=round(fraction * LOADING_STEPS), steps=LOADING_STEPS, stage=text)

    return report


def raise_if_unwanted(runs: Sequence[RunningJob[Spec]]) -> None:
    """Raises JobCancelled when all of them are to stop."""
    if all(run.cancelled for run in runs):
        raise JobCancelled


@contextmanager
def measured(runs: Sequence[RunningJob[Spec]], name: str) -> Iterator[None]:
    """Adds the seconds of the block to `timings[name]` of each run: all of them waited for it."""
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.measure(name))
        yield
