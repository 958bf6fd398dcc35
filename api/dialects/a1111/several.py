"""Requests with several pictures, each of which is a job: extras, and ControlNet's detect. One answer tells of all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from api.dialects.a1111.base import A1111Dialect
from api.dialects.a1111.errors import BAD_PICTURE, refusal
from api.errors import DarkroomError
from api.files.errors import InvalidImage
from api.files.services import resolve_image
from api.jobs.api.database_calls import in_thread_when_back
from api.jobs.api.dialect import Accepted
from api.jobs.api.submission import Submission, read_idempotency_key, read_preference
from api.jobs.api.waiting import wait_until_final
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.store import transitions

if TYPE_CHECKING:
    from api.files.decoding import Mode
    from api.files.models import StoredFile


class SeveralJobsView(A1111Dialect):
    """A subclass says which pictures a body has, and how they are given back; `post` calls `submit_all`."""

    mode: Mode = "RGBA"
    """In which the pictures are kept."""

    def pictures(self) -> Sequence[tuple[str, str]]:
        """Each with the name of the field that it came in."""
        raise NotImplementedError

    def submission_of(self, field: str, sent: str) -> Submission:
        """Raises RequestRefused."""
        raise NotImplementedError

    def render_all(self, jobs: Sequence[Job]) -> HttpResponse:
        """Of jobs that succeeded."""
        raise NotImplementedError

    def parse(self, request: Request) -> Submission:
        raise NotImplementedError  # `submit_all` does it

    def render(self, job: Job) -> HttpResponse:
        return self.render_all([job])

    def submit_all(self, request: Request) -> HttpResponseBase:
        self.preference = read_preference(request.headers.get("Prefer", ""), self.default_wait)
        key = read_idempotency_key(request)
        jobs: list[Job] = []
        try:
            for place, submission in enumerate([self.submission_of(field, sent) for field, sent in self.pictures()]):
                jobs.append(self.submit(submission, own_key(key, place)))
        except DarkroomError:
            for job in jobs if key is None else ():  # with a key they are found when it is sent again
                cancel_job(job=job)
            raise
        return AllAccepted(self, jobs)

    def stored(self, field: str, sent: str) -> StoredFile:
        """Raises RequestRefused."""
        owner = self.principal
        try:
            return resolve_image(owner_key=owner.owner_key, value=sent, mode=self.mode, see_all=owner.is_staff)
        except InvalidImage as error:
            raise refusal(field, error.detail, BAD_PICTURE) from None


def own_key(key: str | None, place: int) -> str | None:
    """For each picture of a request the same key makes another one, always the same."""
    return key and hashlib.sha256(f"{key} {place}".encode()).hexdigest()


class AllAccepted(Accepted):
    """Of a request that became several jobs: it is answered when the last of them has ended."""

    dialect: SeveralJobsView

    def __init__(self, dialect: SeveralJobsView, jobs: list[Job]) -> None:
        super().__init__(dialect, jobs[0], may_cancel=False)
        self.jobs = jobs

    @property
    def needs_no_wait(self) -> bool:
        return all(job.is_final for job in self.jobs) or not self.dialect.preference.seconds

    def answer(self) -> HttpResponseBase:
        """What went wrong with one of them is told of all; of those that were interrupted the others are given back."""
        done = [job for job in self.jobs if job.status == Status.SUCCEEDED]
        unfit = [job for job in self.jobs if job.status == Status.FAILED]
        unfit += [job for job in self.jobs if not job.is_final]
        unfit += [job for job in self.jobs if job.status == Status.CANCELLED and not done]
        return self.finish(self.dialect.answer(unfit[0]) if unfit else self.dialect.render_all(done))

    def answer_as_it_stands(self) -> HttpResponseBase:
        for place, job in enumerate(self.jobs):
            found = transitions.find_job(job.pk)
            if found is None:  # it was deleted
                job.status, job.error = Status.CANCELLED, None
            self.jobs[place] = found or job
        return self.answer()

    async def wait(self) -> HttpResponseBase:
        deadline = time.monotonic() + self.dialect.preference.seconds
        for job in self.jobs:
            await wait_until_final(job.pk, max(0.0, deadline - time.monotonic()))
        return await in_thread_when_back(self.answer_as_it_stands)
