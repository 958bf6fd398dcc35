"""The chats of one model as the worker steps them: real jobs, a real tiny model."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import load_catalog
from api.chat.backends.torch_backend import TorchBackend
from api.chat.completions.spec import CompletionSpec, RawPrompt
from api.chat.python_api import submit_chat
from api.chat.session import ChatSession
from api.chat.spec import WritingSpec
from api.devices import Device
from api.downloads.store import ModelStore
from api.jobs.kinds import read_spec
from api.jobs.lifecycle import cancel_job, claim_jobs, claim_joining, submit_job
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.worker.endings import end, start_running
from api.model_loader import ModelLoader
from config.catalog import get_catalog
from tests.chat.conftest import ask

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def session(chat_catalog: Path, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> ChatSession:
    """With two slots, and three jobs of two answers each that have joined it."""
    get_catalog.cache_clear()
    settings.CATALOG_EXTRA = chat_catalog
    monkeypatch.setenv("DARKROOM_WORKER", "test")
    for number in range(3):
        submit_chat({"model": "tiny-llama", "messages": ask(f"hello {number}"), "n": 2, "max_tokens": 4})
    get_catalog.cache_clear()
    worker = Worker.objects.create(hostname="here", pid=1)
    jobs = claim_jobs(worker=worker)
    jobs += claim_joining(worker=worker, batch_key=jobs[0].batch_key, limit=9)
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    loader = ModelLoader(load_catalog(chat_catalog), ModelStore(tmp_path), device)
    session = ChatSession(TorchBackend(loader, "tiny-llama"), 2)
    session.join([start_running(job) for job in jobs])
    return session


def step(session: ChatSession) -> None:
    for outcome in session.step():
        end(outcome)


def test_no_more_answers_are_written_than_there_are_slots(session: ChatSession) -> None:
    most = 0
    while session.running:
        step(session)
        most = max(most, session.backend.rows)
    assert most == 2
    assert {job.status for job in Job.objects.all()} == {Status.SUCCEEDED}
    assert {"queue", "load", "read", "write"} <= Job.objects.first().timings.keys()  # type: ignore[union-attr]
    assert Job.objects.first().result["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}  # type: ignore[union-attr, index]


def test_completions_join_the_chats_of_their_model(session: ChatSession) -> None:
    first = Job.objects.earliest("id")
    chat = read_spec(first)
    spec = CompletionSpec(**{one.name: getattr(chat, one.name) for one in fields(WritingSpec)} | {
        "raw_prompts": (RawPrompt(text="a red"), RawPrompt(text="", tokens=(5, 6))), "n": 1,
    })  # fmt: skip
    job = submit_job(spec=spec, owner_key="local")
    session.join([start_running(one) for one in claim_joining(worker=first.worker, batch_key=first.batch_key, limit=9)])  # type: ignore[arg-type]
    session.slots = 9
    together: set[frozenset[str]] = set()
    while session.running:
        step(session)
        together.add(frozenset(run.job.kind for run in session.generating))
    assert frozenset({"chat", "completion"}) in together
    job.refresh_from_db()
    assert [choice["finish_reason"] for choice in job.result["choices"]] == ["length"] * 2
    assert Job.objects.filter(status=Status.SUCCEEDED).count() == 4
    assert not job.messages.exists()  # it is no conversation


def test_who_waits_for_a_slot_is_cancelled_at_once(session: ChatSession) -> None:
    step(session)
    waiting = session.waiting[-1].run
    cancel_job(job=waiting.job)
    waiting.cancel_asked.set()  # as the lease keeper does
    step(session)
    assert Job.objects.get(pk=waiting.id).status == Status.CANCELLED
    assert waiting not in session.running
