"""Tools that the server runs: whole dialogues with a scripted model and real tools, and what goes wrong in them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from api import model_loader
from api.chat.models import Conversation
from api.devices import probe_device
from api.dialects.openai.streaming import ChunkStream
from api.downloads.store import ModelStore
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import ACTIVE, Status
from api.jobs.worker.loop import WorkerLoop
from config.catalog import get_catalog
from tests.chat.conftest import ask, data_url, picture
from tests.chat.tools.scripted import ScriptedBackend, texts, work

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
ALL = ["find_objects", "read_text", "judge_layout", "make_picture"]
JUDGE = ("judge_layout", {"picture": 1})
MAKE = ("make_picture", {"prompt": "a red circle", "width": 64, "height": 64})
Say = Callable[..., Job]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any, media: Any) -> Iterator[ScriptedBackend]:
    scripted = ScriptedBackend([])
    settings.PROMPT_SCORES = False
    get_catalog.cache_clear()
    monkeypatch.setattr("api.chat.session.make_backend", lambda name, model_id: scripted)
    monkeypatch.setattr(model_loader, "_loader", None)
    model_loader.configure(get_catalog(), ModelStore(settings.MODELS_DIR), probe_device("cpu"))
    yield scripted
    get_catalog.cache_clear()


@pytest.fixture
def say(client: Client, model: ScriptedBackend) -> Say:
    """Asks; `script` is what the model writes, and then a worker does all that waits."""

    def send(*script: Any, messages: Any = None, working: bool = True, **fields: Any) -> Job:
        model.script[:] = script
        body = {
            "model": "starter-vlm",
            "messages": messages or ask("What is it?", data_url(picture())),
            "server_tools": ALL,
            **fields,
        }
        headers = {"Prefer": "respond-async"}
        reply = client.post("/v1/chat/completions", body, content_type="application/json", headers=headers)
        assert reply.status_code == 202, reply.content
        if working:
            work()
        return Job.objects.get(pk=reply.json()["id"])

    return send


def answer(job: Job) -> dict[str, Any]:
    job.refresh_from_db()
    assert job.status == Status.SUCCEEDED, job.error
    return job.result["choices"][0]  # type: ignore[index, no-any-return]


def test_a_dialogue_of_three_turns_with_real_tools(say: Say, model: ScriptedBackend, client: Client) -> None:
    first = [("find_objects", {"classes": ["sun"]}), JUDGE]
    job = say(["Let me look.", *first], ["And now ", MAKE], "There it is.", tool_choice="required", max_tokens=100)
    found = answer(job)
    assert found["text"] == "Let me look.\n\nAnd now \n\nThere it is."
    assert found["finish_reason"] == "stop"
    assert "tool_calls" not in found
    calls = found["server_tool_calls"]
    assert [(call["name"], call["status"]) for call in calls] == [
        (name, "succeeded") for name in ("find_objects", "judge_layout", "make_picture")
    ]
    children = list(job.children.order_by("pk"))
    assert [call["job"] for call in calls] == [str(child.pk) for child in children]
    assert [child.kind for child in children] == ["detect", "layout_score", "txt2img"]
    assert {(child.owner_key, child.source, child.priority) for child in children} == {(job.owner_key, job.source, 0)}
    assert (calls[0]["output"]["width"], calls[0]["output"]["objects"]) == (64, [])
    assert "aesthetic_score" in calls[1]["output"]
    made = children[2].result["images"][0]  # type: ignore[index]
    assert calls[2]["images"] == [{"id": made["id"], "url": f"/api/images/{made['id']}/file/"}]
    assert calls[2]["output"]["pictures"] == [{"picture": 2, "id": made["id"]}]
    assert job.result["usage"]["total_tokens"] == 330  # type: ignore[index]

    # what the model was asked in each turn, and what it was told
    assert [request.sampling.max_tokens for request in model.read] == [100, 90, 80]
    assert [request.tool_use.choice for request in model.read if request.tool_use] == ["required", "auto", "auto"]
    last = list(texts(model.read[2]))
    assert [line.split(":")[0] for line in last] == ["user", "assistant", "tool", "tool", "assistant", "tool", "user"]
    assert last[-1].endswith("<64x64>")
    assert json.loads(last[-2].removeprefix("tool: "))["made"][0]["width"] == 64

    # the history: what was said between, and the jobs
    kept = client.get(f"/api/conversations/{job.result['conversation']}/").json()["messages"]  # type: ignore[index]
    assert [one["role"] for one in kept] == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert [part.get("job") for part in kept[1]["parts"] if part["type"] == "tool_call"] == [calls[0]["job"], calls[1]["job"]]
    assert kept[5]["parts"][-1]["url"].endswith(f"{made['id']}/file/")
    assert kept[-1]["parts"] == [{"type": "text", "text": "There it is."}]


def test_a_client_goes_on_with_what_it_saw_and_a_conversation_with_all_that_was(say: Say, model: ScriptedBackend) -> None:
    job = say(["One.", JUDGE], "Two.")
    seen = [*job_messages(job), {"role": "assistant", "content": "One.\n\nTwo."}, *ask("And?")]
    again = say("Three.", messages=seen)
    assert answer(again)["text"] == "Three."
    assert again.result["conversation"] == job.result["conversation"]  # type: ignore[index]
    third = say("Four.", messages=ask("More?"), conversation=job.result["conversation"])  # type: ignore[index]
    assert [line.split(":")[0] for line in texts(model.read[-1])] == [
        "user", "assistant", "tool", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert Conversation.objects.count() == 1
    params = {**third_params(third), "messages": third_params(third)["messages"][:-1] + ask("And what then?")}
    assert answer(say("Five.", **params))["text"] == "Five."


def job_messages(job: Job) -> list[Any]:
    from api.jobs.kinds import shown_params

    return list(shown_params(job)["messages"])  # type: ignore[call-overload]


def third_params(job: Job) -> dict[str, Any]:
    from api.jobs.kinds import shown_params

    return dict(shown_params(job))


def test_the_stream_tells_calls_and_results_as_they_happen(say: Say) -> None:
    job = say(["Look: ", JUDGE], "Done.")
    stream = ChunkStream(job, None, include_usage=False)
    lines = b"".join(stream.read()).decode().split("\n\n")
    assert lines[-2] == "data: [DONE]"
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines[:-2]]
    assert "".join(delta.get("content") or "" for delta in deltas) == answer(job)["text"] == "Look: \n\nDone."
    [begun], [ended] = [delta["server_tool_calls"] for delta in deltas if "server_tool_calls" in delta]
    assert (begun["name"], begun["arguments"]) == ("judge_layout", '{"picture": 1}')
    assert "status" not in begun
    assert {**begun, **ended} == answer(job)["server_tool_calls"][0]
    assert set(begun) & set(ended) == {"index"}
    places = [place for place, delta in enumerate(deltas) if "server_tool_calls" in delta]
    assert places == [2, 3]
    assert deltas[4]["content"] == "\n\nDone."


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("judge_layout", "no JSON"), "no JSON"),
        (("judge_layout", "[1]"), "no object"),
        (("judge_layout", {"picture": 2}), "counted from 1 to 1"),
        (("judge_layout", {"picture": "1"}), "counted from 1 to 1"),
        (("find_objects", {"what": "sun"}), "no argument 'what'"),
        (("find_objects", {"picture_id": "0197c0de-0000-7000-8000-000000000000"}), "no image with this id"),
        (("find_objects", {"picture_id": "x"}), "no picture with this id"),
        (("find_objects", {"classes": []}), "classes"),
        (("make_picture", {"prompt": "a sun", "width": 65}), "width"),
        (("make_picture", {}), "prompt"),
    ],
)
def test_a_call_that_is_wrong_is_told_to_the_model_and_to_the_client(
    say: Say, model: ScriptedBackend, call: Any, words: str
) -> None:
    job = say(call, "I could not.")
    [told] = answer(job)["server_tool_calls"]
    assert (told["status"], told["job"]) == ("failed", None)
    assert words in told["output"]["error"]
    assert words in list(texts(model.read[1]))[-1]
    assert [warning for warning in job.warnings if words in warning]
    assert not job.children.exists()
