"""Each process says by a row which version it is; what differs from this process is told to people in three places."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import Client

from api.jobs.identifiers import uuid7
from api.jobs.models import Worker
from api.system import versions
from api.system.models import ServerProcess

pytestmark = pytest.mark.django_db


def make_process(name: str, **differing: Any) -> ServerProcess:
    same = {
        "version": versions.version(),
        "migrations": versions.known_migrations(),
        "key_fingerprint": versions.key_fingerprint(),
    }
    return ServerProcess.objects.create(role="web", hostname=name, pid=7, **{**same, **differing})


@pytest.fixture
def mixed(make_worker: Callable[..., Worker]) -> Worker:
    """A fleet of five processes, of which three differ, each in its own way, and a fourth differed before it went away."""
    make_process("same")
    make_process("other", version="0.0.9+00000000", migrations=40)
    make_process("keyless", key_fingerprint="00000000")
    make_process("gone", version="0.0.8+00000000", seen_at=Now() - 2 * versions.ALIVE)
    return make_worker()


def test_what_differs_is_told_and_nothing_else(mixed: Worker) -> None:
    own = f"{re.escape(versions.version())}"
    wanted = [
        "keyless:7 has another SECRET_KEY than this process: give all the same one\\.",
        rf"other:7 runs version 0\.0\.9\+00000000 with 40 migrations, and this process {own} with \d+\.",
        rf"{mixed} runs a version that is too old to say which; this process runs {own}\.",
    ]
    found = versions.differences()
    assert len(found) == 3
    assert all(re.fullmatch(pattern, sentence) for pattern, sentence in zip(wanted, found, strict=True)), found


def test_a_worker_that_says_its_version_is_not_too_old(make_worker: Callable[..., Worker]) -> None:
    worker = make_worker()
    process = make_process(worker.hostname)
    ServerProcess.objects.filter(pk=process.pk).update(pid=worker.pid)
    assert versions.differences() == []


def test_the_admin_the_studio_and_doctor_say_so(
    mixed: Worker, admin_client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.clear()
    for address in ("/admin/", "/studio/queue/machines"):
        assert "other:7 runs version 0.0.9+00000000 with 40 migrations" in admin_client.get(address).content.decode(), address
    vietnamese = admin_client.get("/studio/queue/machines", headers={"Accept-Language": "vi"}).content.decode()
    assert "other:7 chạy phiên bản 0.0.9+00000000" in vietnamese
    from api.system.diagnosis import examine_versions
    from api.system.management.commands import doctor

    monkeypatch.setattr(doctor, "EXAMINATIONS", {"Versions": examine_versions})
    call_command("doctor")
    assert "keyless:7 has another SECRET_KEY" in capsys.readouterr().out


def test_a_process_has_one_row_and_old_ones_go() -> None:
    make_process("gone", seen_at=Now() - timedelta(days=2))
    process = ServerProcess(pk=uuid7(), role="web", hostname="here", pid=1, version="1", migrations=1, key_fingerprint="1")
    for _ in range(2):
        versions.report(process)
    hostnames = [row.hostname for row in ServerProcess.objects.all()]  # this process may have one, too
    assert (hostnames.count("here"), hostnames.count("gone")) == (1, 0)
