"""What handlers that run models share: the loader's errors as the job's, its progress and its times as the runs'."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from api.errors import DarkroomError, DeviceFault
from api.jobs.errors import JobCancelled
from api.jobs.worker.runs import JobRun

LOADING_STEPS = 100


@contextmanager
def explained() -> Iterator[None]:
    """The loader's and the store's errors as the job's. Raises DarkroomError, DeviceFault."""
    from api.catalog import UnknownEntry

    try:
        yield
    except DarkroomError as error:
        raise DarkroomError(error.code, error.status, error.detail) from error
    except UnknownEntry as error:
        raise DarkroomError("unknown_model", 400, str(error)) from error
    except DeviceFault as error:
        raise DeviceFault(str(error)) from error


def report_to(runs: Sequence[JobRun]) -> Callable[[float, str], None]:
    """For `on_progress` of the loader. Loading stops when nobody wants the model any more."""

    def report(fraction: float, text: str) -> None:
        raise_if_unwanted(runs)
        for run in runs:
            run.progress(step=round(fraction * LOADING_STEPS), steps=LOADING_STEPS, stage=text)

    return report


def raise_if_unwanted(runs: Sequence[JobRun]) -> None:
    """Raises JobCancelled when all of them are to stop."""
    if all(run.cancelled for run in runs):
        raise JobCancelled


@contextmanager
def measured(runs: Sequence[JobRun], name: str) -> Iterator[None]:
    """Adds the seconds of the block to `timings[name]` of each run: all of them waited for it."""
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.measure(name))
        yield
