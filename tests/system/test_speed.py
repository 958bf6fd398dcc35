"""`manage.py doctor --speed`: pictures a second, measured."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.system import speed
from api.system.speed import Make, measure, plan
from tests.live import ROOT


class Clock:
    """Stands still, but for what the makers take."""

    now = 100.0

    def maker(self, first: float, seconds: float) -> Make:
        """Takes `seconds` for a step of each picture, and `first` more the first time."""
        extra = [first]

        def make(pictures: int, steps: int) -> None:
            self.now += pictures * steps * seconds + extra.pop() if extra else pictures * steps * seconds

        return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(speed, "time", SimpleNamespace(monotonic=lambda: clock.now, perf_counter=lambda: clock.now))
    return clock


def rates(measured: speed.Speed) -> list[tuple[int, float, float]]:
    return [(figure.together, round(figure.engine, 3), round(figure.plain, 3)) for figure in measured.figures]


def test_the_figures_are_what_was_measured_without_the_first_pictures(clock: Clock) -> None:
    told: list[str] = []
    engine, plain = clock.maker(3.0, 0.01), clock.maker(5.0, 0.02)
    measured = measure(engine, plain, steps=10, together=4, tell=told.append, budget=30)
    assert rates(measured) == [(1, 10.0, 5.0), (4, 10.0, 5.0)]
    assert (measured.steps, measured.rounds) == (10, speed.MOST_ROUNDS)
    assert clock.now - 100 < 30
    assert [line for line in told if "Measuring, round" in line] == told[1:]


def test_a_slow_machine_makes_fewer_steps_and_one_picture_at_a_time(clock: Clock) -> None:
    measured = measure(clock.maker(0, 0.7), clock.maker(0, 1.3), steps=20, together=4, tell=lambda text: None, budget=30)
    assert (measured.steps, measured.rounds) == (5, 2)
    assert rates(measured) == [(1, round(1 / 3.5, 3), round(1 / 6.5, 3))]
    assert clock.now - 100 < 30


@pytest.mark.parametrize(
    ("step_seconds", "together", "expected"),
    [(0.01, 4, ((1, 4), 20)), (0.01, 1, ((1,), 20)), (0.2, 4, ((1, 4), 15)), (1.0, 4, ((1,), 15)), (60.0, 4, ((1,), 2))],
)
def test_one_round_fits_into_the_time(step_seconds: float, together: int, expected: Any) -> None:
    assert plan(step_seconds, together, 20, 15.0) == expected


IN_A_SHORT_TIME = """
import sys
import manage
from api.system import speed
speed.measure.__kwdefaults__["budget"] = 6.0
manage.main()
"""
"""That the usual time is kept is shown above, by a clock that the tests move."""


@pytest.mark.models
@pytest.mark.own_database
def test_the_command_measures_the_built_in_model_without_a_database(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": "",
        "LOG_FORMAT": "text",
        "DEFAULT_IMAGE_MODEL": "sdxl-base-1.0",
    }
    begun = time.monotonic()
    command = [sys.executable, "-c", IN_A_SHORT_TIME, "doctor", "--speed"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    taken = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    assert "Darkroom starter, 128×128" in done.stdout
    figures = re.findall(r"engine ([\d.e-]+) pictures/s, plain diffusers ([\d.e-]+) pictures/s: ([\d.]+) ×", done.stdout)
    assert figures
    for engine, plain, ratio in figures:
        assert float(engine) > 1 / taken
        assert float(plain) > 1 / taken
        assert float(ratio) == pytest.approx(float(engine) / float(plain), rel=0.02, abs=0.01)
    assert "Measuring, round 1" in done.stderr
    assert "Traceback" not in done.stderr
