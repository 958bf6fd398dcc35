"""The history that is kept: found again, gone on with, searched, deleted; each for its owner alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from django.test import Client

from api import model_loader
from api.access.services import create_key
from api.catalog import load_catalog
from api.chat.models import Conversation, Message
from api.devices import Device
from api.downloads.store import ModelStore
from api.jobs.lifecycle import claim_jobs, finish_job
from api.jobs.models import Job, Worker
from api.jobs.worker.loop import WorkerLoop
from tests.chat.conftest import ask, data_url, picture

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct"


@pytest.fixture
def say(client: Client, media: None) -> Callable[..., Job]:
    """Asks, and answers as a worker would, with a given text."""

    def send(messages: list[dict[str, Any]], answer: str | None = None, headers: Any = None, **fields: Any) -> Job:
        body = {"model": MODEL, "messages": messages, **fields}
        told = {"Prefer": "respond-async", **(headers or {})}
        reply = client.post("/v1/chat/completions", body, content_type="application/json", headers=told)
        assert reply.status_code == 202, reply.content
        if answer is not None:
            finish(answer)
        return Job.objects.get(pk=reply.json()["id"])

    return send


def finish(text: str) -> None:
    from api.jobs.kinds import get_kind

    [job] = claim_jobs(worker=Worker.objects.create(hostname="here", pid=1))
    choice = {"text": text, "finish_reason": "stop", "completion_tokens": 3, "logprobs": None}
    output = {
        "backend": "pytorch", "model": MODEL, "choices": [choice], "prompt_tokens": 10, "cached_tokens": 4, "dropped_tokens": 0,
        "first_token_seconds": 0.1, "seconds": 0.4,
    }  # fmt: skip
    finish_job(job=job, record=lambda row: get_kind("chat").record(row, output))


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return list(conversation.messages.values_list("role", "text"))


def test_question_and_answer_are_one_conversation_with_what_it_took(say: Callable[..., Job]) -> None:
    job = say(ask("What is a lake?"), "Water.")
    conversation = Conversation.objects.get()
    assert said(conversation) == [("user", "What is a lake?"), ("assistant", "Water.")]
    answer = Message.objects.get(role="assistant")
    assert (answer.backend, answer.prompt_tokens, answer.completion_tokens, answer.seconds) == ("pytorch", 10, 3, 0.4)
    assert (conversation.title, conversation.model_id) == ("What is a lake?", MODEL)
    assert job.result["conversation"] == str(conversation.pk)


def test_a_client_that_sends_the_whole_history_goes_on_with_its_conversation(say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    history = [*ask("one"), {"role": "assistant", "content": "first"}, *ask("two")]
    say(history, "second")
    assert [text for _, text in said(Conversation.objects.get())] == ["one", "first", "two", "second"]


def test_another_answer_in_the_history_is_another_conversation(say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    say([*ask("one"), {"role": "assistant", "content": "not what was said"}, *ask("two")], "second")
    assert Conversation.objects.count() == 2


def test_asking_anew_is_another_conversation(say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    say(ask("one"), "first")
    assert Conversation.objects.count() == 2


def test_a_conversation_is_continued_by_its_id_with_all_that_was_said(say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    job = say(ask("two"), "second", conversation=str(Conversation.objects.get().pk))
    assert [turn["role"] for turn in job.params["messages"]] == ["user", "assistant", "user"]
    assert [text for _, text in said(Conversation.objects.get())] == ["one", "first", "two", "second"]


def test_the_pictures_of_earlier_turns_are_told_again(say: Callable[..., Job]) -> None:
    say(ask("one", data_url(picture())), "first")
    job = say(ask("two"), conversation=str(Conversation.objects.get().pk))
    assert job.params["messages"][0]["parts"][0]["image"] == str(Message.objects.first().images.get().pk)
    assert job.inputs.count() == 1


def test_who_waits_for_an_answer_can_not_ask_on(client: Client, say: Callable[..., Job]) -> None:
    say(ask("one"))
    body = {"model": MODEL, "messages": ask("two"), "conversation": str(Conversation.objects.get().pk)}
    reply = client.post("/v1/chat/completions", body, content_type="application/json", headers={"Prefer": "respond-async"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "conversation_busy")
    assert Job.objects.count() == 1


def test_the_same_key_and_body_are_one_job_even_in_a_conversation_that_is_named(say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    named, key = str(Conversation.objects.get().pk), {"Idempotency-Key": "again"}
    jobs = {say(ask("two"), conversation=named, headers=key).pk for _ in range(2)}
    assert len(jobs) == 1


def test_a_question_that_was_never_answered_is_not_told_again(say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    named = str(Conversation.objects.get().pk)
    job = say(ask("lost"), conversation=named)
    Job.objects.filter(pk=job.pk).update(status="failed")
    job = say(ask("two"), "second", conversation=named)
    assert [turn["parts"][0]["text"] for turn in job.params["messages"]] == ["one", "first", "two"]
    job = say(ask("three"), conversation=named)
    assert [turn["parts"][0]["text"] for turn in job.params["messages"]] == ["one", "first", "two", "second", "three"]


def test_the_list_is_searched_by_the_words_of_any_message(client: Client, say: Callable[..., Job]) -> None:
    say(ask("What is a lake?"), "Water under the sky.")
    say(ask("And a hill?"), "Earth.")
    found = client.get("/api/conversations/?q=UNDER the").json()["results"]
    assert [(row["title"], row["message_count"]) for row in found] == [("What is a lake?", 2)]
    assert len(client.get("/api/conversations/?q=sky LAKE").json()["results"]) == 1
    assert client.get("/api/conversations/?q=sky hill").json()["results"] == []


def test_one_conversation_has_its_messages_in_order_with_their_pictures(client: Client, say: Callable[..., Job]) -> None:
    say(ask("What?", data_url(picture())), "Red.")
    shown = client.get(f"/api/conversations/{Conversation.objects.get().pk}/").json()
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
    image, text = shown["messages"][0]["parts"]
    assert client.get(image["url"]).status_code == 200
    assert text == {"type": "text", "text": "What?"}


def test_deleting_it_deletes_its_words_everywhere(client: Client, say: Callable[..., Job]) -> None:
    say(ask("one"), "first")
    assert client.delete(f"/api/conversations/{Conversation.objects.get().pk}/").status_code == 204
    assert (Conversation.objects.count(), Message.objects.count(), Job.objects.count()) == (0, 0, 0)


def test_deleting_it_waits_for_an_answer_that_is_under_way(client: Client, say: Callable[..., Job]) -> None:
    say(ask("one"))
    assert client.delete(f"/api/conversations/{Conversation.objects.get().pk}/").status_code == 409


def test_it_goes_with_the_last_of_its_jobs(say: Callable[..., Job]) -> None:
    say(ask("one"), "first").delete()
    assert Conversation.objects.count() == 0


def test_what_is_anothers_is_not_found_and_not_listed(client: Client, say: Callable[..., Job], media: None) -> None:
    _, token = create_key(name="the owner")
    owner = {"Authorization": f"Bearer {token}"}
    _, other = create_key(name="another")
    bearer = {"Authorization": f"Bearer {other}"}
    say(ask("secret", data_url(picture())), "first", headers=owner)
    path = f"/api/conversations/{Conversation.objects.get().pk}/"
    assert client.get(path, headers=bearer).status_code == 404
    assert client.delete(path, headers=bearer).status_code == 404
    assert client.get("/api/conversations/", headers=bearer).json()["results"] == []
    image = Message.objects.first().images.get().pk
    body = {"model": MODEL, "messages": ask("What?", f"darkroom://images/{image}")}
    reply = client.post("/v1/chat/completions", body, content_type="application/json", headers=bearer)
    assert "no image with this id" in reply.json()["error"]["message"]


def test_a_retry_is_a_conversation_of_its_own_with_the_same_words(client: Client, say: Callable[..., Job]) -> None:
    job = say(ask("one"), "first")
    assert client.post(f"/api/jobs/{job.pk}/retry/").status_code == 202
    assert [list(row.messages.values_list("text", flat=True)) for row in Conversation.objects.all()] == [
        ["one"],
        ["one", "first"],
    ]


def test_the_admin_shows_a_conversation_as_it_was(admin_client: Client, say: Callable[..., Job]) -> None:
    say(ask("What is a lake?", data_url(picture())), "Water <b>under</b> the sky.")
    assert b"What is a lake?" in admin_client.get("/admin/chat/conversation/?q=under").content
    page = admin_client.get(f"/admin/chat/conversation/{Conversation.objects.get().pk}/change/").content.decode()
    assert "Water &lt;b&gt;under&lt;/b&gt; the sky." in page
    assert "10 + 3 tokens" in page
    assert "/thumbnail/" in page


@pytest.mark.models
def test_a_model_that_has_left_the_catalog_fails_the_job_with_a_sentence(
    say: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = say(ask("one"))
    Job.objects.filter(pk=job.pk).update(params={**job.params, "model": "gone"}, batch_key="chat:pytorch:gone")
    monkeypatch.setattr(model_loader, "_loader", None)
    model_loader.configure(load_catalog(), ModelStore(Path("nowhere")), Device("cpu", 0, "", torch.float32, True, 2**30))
    WorkerLoop().run_once()
    assert Job.objects.get(pk=job.pk).error["detail"] == "There is no model 'gone'."


def test_another_branch_is_gone_on_with_and_wrong_ones_are_refused(client: Client, say: Callable[..., Job]) -> None:
    first = say(ask("one"), "first")
    conversation = Conversation.objects.get()
    path, named = f"/api/conversations/{conversation.pk}/", str(conversation.pk)
    say(ask("behind the first"), "third", conversation=named)
    second = say(ask("one, differently"), "second", conversation=named, replace_from=0)
    shown = client.get(path).json()["messages"]
    assert [message["parts"][0]["text"] for message in shown] == ["one, differently", "second"]
    assert [message["branches"] for message in shown] == [[str(first.pk), str(second.pk)], []]
    answer = client.post(f"{path}branch/", {"job": str(first.pk)}, content_type="application/json")
    assert [message["parts"][0]["text"] for message in answer.json()["messages"]] == [
        "one",
        "first",
        "behind the first",
        "third",
    ]
    assert answer.json() == client.get(path).json()
    behind = answer.json()["messages"][2]["job"]
    client.post(f"{path}branch/", {"job": str(second.pk)}, content_type="application/json")
    refused = client.post(f"{path}branch/", {"job": behind}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "stale_branch")
    unknown = client.post(f"{path}branch/", {"job": named}, content_type="application/json")
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (400, "job")
