"""A check over many cases in one test, which names every case that fails: a test for each would cost more than its check."""

from collections.abc import Callable, Iterable
from typing import Any


def check_each(cases: Iterable[Any], check: Callable[..., None]) -> None:
    """A case is what the check is called with: a tuple of its arguments, or its one argument."""
    walked = [case if isinstance(case, tuple) else (case,) for case in cases]
    assert walked, "There is nothing to check."
    failures = [f"{' '.join(map(str, case))}: {failure}" for case in walked if (failure := failure_of(check, case))]
    assert not failures, f"{len(failures)} of {len(walked)} fail:\n" + "\n".join(failures)


def failure_of(check: Callable[..., None], case: tuple[Any, ...]) -> str:
    try:
        check(*case)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:600]}"
    return ""
