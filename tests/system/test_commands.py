"""The commands that need no model: accounts, the server's address, doctor, sweep."""

import sys
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from api.images.models import GeneratedImage
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.system import diagnosis
from api.system.broker_trial import try_broker
from api.system.diagnosis import Finding
from api.system.management.commands.runserver import read_address, server_command
from tests.system.conftest import MakeJob

pytestmark = pytest.mark.django_db
TOKEN = "hf_a_secret_that_must_not_be_shown"


def run(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out, stderr=out)
    return out.getvalue()


def level_of(findings: list[Finding], words: str) -> str:
    return next(finding.level for finding in findings if words in finding.text)


# ---------------------------------------------------------------- make_admin


def test_the_first_run_makes_an_account_and_shows_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_PASSWORD", raising=False)
    password = run("make_admin").split("password ")[1].split()[0]
    admin = User.objects.get(username="admin")
    assert admin.is_superuser
    assert admin.check_password(password)
    assert len(password) >= 16


def test_a_password_from_the_environment_is_taken_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "correct horse")
    assert "correct horse" not in run("make_admin")
    assert User.objects.get(username="admin").check_password("correct horse")


def test_a_second_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run("make_admin")
    monkeypatch.setenv("ADMIN_PASSWORD", "another")
    assert run("make_admin") == ""
    assert User.objects.count() == 1
    assert not User.objects.get().check_password("another")


# ---------------------------------------------------------------- runserver


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, "127.0.0.1:8000"),
        ("9000", "127.0.0.1:9000"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:8000", "[::1]:8000"),
        ("localhost:8000", "localhost:8000"),
    ],
)
def test_runserver_takes_the_addresses_that_djangos_takes(given: str | None, address: str) -> None:
    assert read_address(given) == address


def test_runserver_names_a_wrong_address() -> None:
    with pytest.raises(CommandError, match="'nonsense'"):
        read_address("nonsense")


def test_runserver_serves_asgi_with_reloading() -> None:
    command = server_command("127.0.0.1:8000", reload=True)
    assert command[:5] == [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
    assert command[-2:] == ["--reload", "config.asgi:application"]


# ---------------------------------------------------------------- doctor


def test_the_doctor_finds_a_fresh_server_well() -> None:
    report = run("doctor")
    assert "All is well." in report
    assert "PyTorch" in report
    assert "BAD" not in report


def test_the_doctor_says_what_is_wrong_its_cure_and_ends_with_1(settings: Any) -> None:
    settings.DEFAULT_IMAGE_MODEL = "dreamshaper-9"
    out = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("doctor", stdout=out)
    assert "dreamshaper-9" in out.getvalue()
    assert "→ Set it to one of" in out.getvalue()
    assert "1 thing is wrong" in out.getvalue()


def test_the_doctor_never_shows_the_token(settings: Any) -> None:
    settings.HF_TOKEN = TOKEN
    report = run("doctor")
    assert "HF_TOKEN is set" in report
    assert TOKEN not in report


def test_jobs_that_wait_for_no_worker_are_wrong(make_job: MakeJob) -> None:
    make_job()
    assert level_of(list(diagnosis.examine_workers()), "No worker is alive") == "wrong"


def test_a_worker_is_found(make_worker: Callable[..., Worker]) -> None:
    make_worker()
    assert level_of(list(diagnosis.examine_workers()), "is idle with starter in memory") == "fine"


def test_a_picture_without_its_file_is_wrong(make_picture: Callable[[str], GeneratedImage], settings: Any) -> None:
    picture = make_picture("local")
    (Path(settings.MEDIA_ROOT) / picture.file.name).unlink()
    (finding,) = diagnosis.examine_files()
    assert finding.level == "wrong"
    assert str(picture.pk) in finding.text


def test_too_little_disk_is_wrong(settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES = 2**60
    assert level_of(list(diagnosis.examine_disk()), "MIN_FREE_DISK_BYTES") == "wrong"


def test_a_device_that_is_not_there_is_wrong(settings: Any) -> None:
    settings.DEVICE = "mps"
    assert level_of(list(diagnosis.examine_device()), "DEVICE is mps") == "wrong"


@pytest.mark.parametrize(
    ("name", "capability", "level", "text"),
    [
        ("NVIDIA H200", (9, 0), "fine", "Models run in float16 (by what the chip supports)"),
        ("NVIDIA GeForce GTX 1080", (6, 1), "note", "GTX 1080 has no fast half precision: models run in float32"),
    ],
)
def test_the_dtype_of_a_gpu_is_said_and_fp32_is_noted(
    monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int], level: str, text: str
) -> None:
    from api import devices

    major, minor = capability
    properties = SimpleNamespace(name=name, major=major, minor=minor, total_memory=2**34)
    monkeypatch.setattr(devices, "probe_device", lambda preference: devices.cuda_device(0, properties))
    assert level_of(list(diagnosis.examine_device()), text) == level


def test_the_dtype_of_a_processor_is_said_with_what_was_measured() -> None:
    assert level_of(list(diagnosis.examine_device()), "(a trial took: float32 ") == "fine"


def test_a_foreign_server_on_the_port_is_wrong(settings: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.PORT = server.getsockname()[1]
        assert level_of(list(diagnosis.examine_port()), "another program listens there") == "wrong"


def test_sizes_have_a_unit_in_which_they_can_be_read() -> None:
    assert "; here: starter (" in (models := next(diagnosis.examine_models()).text)
    assert "(0.0" not in models
    assert [diagnosis.bytes_text(size) for size in (7_200_000, 4_500, 6_940_000_000)] == ["7.2 MB", "4.5 kB", "6.9 GB"]


def test_whether_the_broker_answers(settings: Any) -> None:
    settings.JOB_RUNNER, settings.CELERY_BROKER_URL = "celery", "redis://127.0.0.1:9/0"
    assert [finding.level for finding in diagnosis.examine_broker()] == ["wrong"]
    assert not try_broker("memory://").reason


def test_a_default_model_that_must_be_fetched_is_noted(settings: Any, own_catalog: Path) -> None:
    settings.DEFAULT_IMAGE_MODEL = "sd-turbo"
    note = next(finding for finding in diagnosis.examine_models() if finding.level == "note")
    assert note.cure == ".venv/bin/python manage.py preload_models --models sd-turbo"


# ---------------------------------------------------------------- sweep


def test_a_sweep_by_hand_hands_back_what_a_dead_worker_held(make_job: MakeJob, make_worker: Callable[..., Worker]) -> None:
    job = make_job(status=Status.RUNNING, attempt=1, worker=make_worker(), lease_expires_at=Now() - timedelta(seconds=1))
    assert "1 jobs" in run("sweep")
    assert Job.objects.get(pk=job.pk).status == Status.QUEUED
