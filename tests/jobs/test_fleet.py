"""The short form of `python -m benchmarks.fleet`, and what a large fleet leans on: few sweep, nobody reads all other workers."""

import os
import subprocess
import sys
import uuid
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now

from api.jobs.models import Worker
from api.jobs.store.workers import is_sweeper, longest_lived, model_holders
from api.jobs.worker import placement


@pytest.mark.postgres
@pytest.mark.timeout(120)
def test_a_small_fleet_ends_what_its_clients_submit():
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        pytest.skip("a fleet needs PostgreSQL")
    sizes = ["--workers", "20", "--clients", "200", "--owners", "20", "--seconds", "5", "--job-seconds", "0.3"]
    command = [sys.executable, "-m", "benchmarks.fleet", "--database", url, *sizes, "--listeners", "5"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def make_worker(*models: str, **fields: object) -> Worker:
    held = [{"id": name, "bytes": 1} for name in models]
    return Worker.objects.create(id=uuid.uuid4(), hostname="a", pid=1, loaded_models=held, **fields)


@pytest.mark.django_db
def test_two_workers_sweep_for_all_and_others_as_soon_as_these_are_silent() -> None:
    ids = sorted(make_worker().pk for _ in range(4))
    assert [is_sweeper(pk, longest_lived()) for pk in ids] == [True, True, False, False]
    silent = Now() - timedelta(seconds=3 * settings.JOB_HEARTBEAT_SECONDS)
    Worker.objects.filter(pk=ids[0]).update(heartbeat_at=silent)
    Worker.objects.filter(pk=ids[1]).update(state=Worker.State.STOPPED)
    assert [is_sweeper(pk, longest_lived()) for pk in ids[2:]] == [True, True]
    Worker.objects.filter(pk=ids[2]).update(heartbeat_at=Now() + timedelta(hours=1))  # the clock was set back since
    assert is_sweeper(ids[3], longest_lived())
    assert settings.JOB_LEASE_SECONDS > 2.5 * settings.JOB_HEARTBEAT_SECONDS, "a dead sweeper is left out before its leases end"


@pytest.mark.django_db
def test_models_are_counted_by_those_who_hold_them_and_a_large_fleet_looks_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    me = make_worker("mine")
    for models in (["a", "b"], ["a"], []):
        make_worker(*models)
    make_worker("gone", state=Worker.State.STOPPED)
    make_worker("silent", heartbeat_at=Now() - timedelta(seconds=settings.JOB_LEASE_SECONDS + 1))
    assert model_holders(me.pk) == {"a": 2, "b": 1}

    mine = placement.Placement(me, lambda: {"a"})
    mine.refresh()
    assert mine.elsewhere == {"b"}
    small = mine.next_look
    monkeypatch.setattr(placement, "model_holders", lambda worker_id: {"a": 10 * placement.MODELS_PER_LOOK})
    mine.refresh()
    assert mine.next_look - small > 8 * placement.LOOK_SECONDS
