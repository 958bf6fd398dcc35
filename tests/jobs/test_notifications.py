"""Who hears of what: those who wait for an end are not woken by steps, nor the webhooks' reader by jobs without webhooks."""

import time
import uuid
from collections.abc import Callable

import pytest

from api.jobs.api.event_hub import FALLBACK_SECONDS, EventHub, Watch
from api.jobs.models import Job, Worker
from api.jobs.notify.channels import Heard, drain, subscribe
from api.jobs.webhooks import Webhook
from api.jobs.worker.leases import LeaseKeeper
from api.jobs.worker.loop import WorkerLoop

WEBHOOK = Webhook(url="https://example.com/hook", events=("completed",))


@pytest.mark.django_db(transaction=True)
def test_a_claim_is_told_as_a_step_and_an_end_as_more(submit: Callable[..., Job], loop: WorkerLoop) -> None:
    web, webhooks = subscribe("web"), subscribe("webhooks")
    submit()
    loop.run_once()
    assert (web.wait(10), webhooks.wait(0.05)) == (Heard.STEP, Heard.NOTHING)
    assert not loop.run_once()
    assert (web.wait(10), webhooks.wait(0.05)) == (Heard.ANYTHING, Heard.NOTHING)
    submit(webhook=WEBHOOK)
    loop.run_once()
    assert webhooks.wait(10)
    web.close(), webhooks.close()


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_tells_of_the_end_before_it_is_more_than_a_step(submit: Callable[..., Job], loop: WorkerLoop) -> None:
    web = subscribe("web")
    [submit() for _ in range(4)]
    loop.run_once(), loop.run_once(), loop.run_once()
    web.wait(10)  # the third claim asks no more whether the queue is empty
    loop.run_once()
    assert web.wait(10) == Heard.ANYTHING
    web.close()


def test_the_hub_looks_where_something_could_have_ended() -> None:
    hub, waits = EventHub(), Watch(uuid.uuid4(), lambda: None, end_only=True)
    before = time.monotonic()
    hub.add(waits, before)
    assert drain(hub.poked), "what ended before it listened was not heard"
    hub.heard_at = hub.looked_at = time.monotonic()
    hub.add(waits, time.monotonic())
    assert not drain(hub.poked), "its end is still to be heard"
    assert not hub.must_look(Heard.STEP, is_poked=False)
    assert hub.must_look(Heard.NOTHING, is_poked=False)
    assert hub.must_look(Heard.STEP, is_poked=True)
    since = time.monotonic()
    assert hub.must_look(Heard.ANYTHING, is_poked=False)
    hub.add(waits, since)
    assert drain(hub.poked), "what was heard since may have been its end"
    hub.looked_at -= FALLBACK_SECONDS
    assert hub.must_look(Heard.STEP, is_poked=False), "a lost notification costs so long and no longer"
    hub.looked_at = time.monotonic()
    hub.add(Watch(uuid.uuid4(), lambda: None, end_only=False))
    assert hub.must_look(Heard.STEP, is_poked=False), "a stream shows steps"


@pytest.mark.django_db
def test_a_state_that_is_over_again_is_not_reported(worker: Worker) -> None:
    report: dict[str, object] = {"state": Worker.State.IDLE, "loaded_models": [{"id": "a", "bytes": 1}]}
    keeper = LeaseKeeper(worker, lambda: report)
    keeper.beat()
    keeper.next_heartbeat = time.monotonic() + 60
    assert not keeper.has_news()
    for changes in ({"state": Worker.State.BUSY}, {"loaded_models": [{"id": "b", "bytes": 1}]}):
        report |= changes
        keeper.next_report = 0.0
        keeper.turn(heard=False)
        assert Worker.objects.filter(pk=worker.pk, **changes).exists()


@pytest.mark.django_db
def test_a_worker_alone_that_was_woken_claims_without_asking_first(
    submit: Callable[..., Job], loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.jobs.store import transitions

    asked = []
    monkeypatch.setattr(transitions, "is_queue_empty", lambda **_: asked.append(1))
    loop.keeper.sweep_in_turn()
    for others, expected in ((False, 0), (True, 1)):
        if others:
            Worker.objects.create(hostname="there", pid=2)
            loop.keeper.sweep_in_turn()
        submit()
        loop.woken, loop.claims_in_a_row = True, 0
        assert loop.run_once()
        assert len(asked) == expected
