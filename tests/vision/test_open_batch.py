"""The pictures of a batch, opened together: who goes on, and who ends before a backend is asked."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from api.jobs.running import Failed, Stopped
from api.runtime.input_pictures import open_batch
from tests.rows import make_picture

pytestmark = pytest.mark.django_db
NOBODYS = "0197c0de-0000-7000-8000-000000000000"


def run_of(image: str, *, cancelled: bool = False) -> Any:
    return SimpleNamespace(spec=SimpleNamespace(image=image), cancelled=cancelled, measure=lambda name: nullcontext())


def test_a_run_whose_picture_is_there_goes_on_and_the_others_end() -> None:
    image = str(make_picture().pk)
    there, gone, cancelled = run_of(image), run_of(NOBODYS), run_of(image, cancelled=True)
    going, ended = open_batch([gone, there, cancelled], lambda picture, run: (picture.mode, run))
    assert going == [(there, ("RGB", there))]
    assert [(type(outcome), outcome.running) for outcome in ended] == [(Failed, gone), (Stopped, cancelled)]
