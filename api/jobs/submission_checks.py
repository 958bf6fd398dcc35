"""Who reads a request before it becomes a row: apps above register from their apps.py, for every API, page and command at once."""

from collections.abc import Callable
from typing import Protocol

from api.jobs.models import Job
from api.specs import Spec

Link = Callable[[Job], None]
"""Makes rows beside the job's, in the transaction that makes it."""


class SubmissionCheck(Protocol):
    def __call__(self, job: Job, spec: Spec) -> Link | None:
        """`job` has no row yet. Raises DarkroomError where the request is refused."""


_checks: list[SubmissionCheck] = []


def register(check: SubmissionCheck) -> None:
    if check not in _checks:
        _checks.append(check)


def check_submission(job: Job, spec: Spec, link: Link | None) -> Link | None:
    """`link` with what the checks add to it. Raises DarkroomError for the first that refuses."""
    links = [found for found in (link, *(check(job, spec) for check in _checks)) if found is not None]
    return links[0] if len(links) == 1 else combine(links)


def combine(links: list[Link]) -> Link | None:
    if not links:
        return None

    def run_all(job: Job) -> None:
        for link in links:
            link(job)

    return run_all
