"""Tools that the server runs: whole dialogues with a scripted model and real tools, and what goes wrong in them."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from api import model_loader
from api.access.services import create_key
from api.chat.models import Conversation, Message
from api.devices import probe_device
from api.dialects.openai.streaming import ChunkStream
from api.downloads.store import ModelStore
from api.files.services import store_pixels
from api.jobs.api.shared_reads import read_all
from api.jobs.lifecycle import cancel_job, release_worker
from api.jobs.models import Job
from api.jobs.states import ACTIVE, Status
from api.jobs.worker.loop import WorkerLoop
from api.safety.models import PromptRule
from config.catalog import get_catalog
from tests.chat.conftest import ask, data_url, picture
from tests.chat.tools.scripted import CUT, ScriptedBackend, texts, work

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
ALL = ["find_objects", "read_text", "judge_layout", "make_picture"]
JUDGE = ("judge_layout", {"picture": 1})
MAKE = ("make_picture", {"prompt": "a red circle"})
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

    def send(*script: Any, messages: Any = None, working: bool = True, key: str = "", **fields: Any) -> Job:
        model.script[:] = script
        body = {
            "model": "starter-vlm",
            "messages": messages or ask("What is it?", data_url(picture())),
            "server_tools": ALL,
            **fields,
        }
        headers = {"Prefer": "respond-async", **({"Authorization": f"Bearer {key}"} if key else {})}
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


def test_a_dialogue_of_three_turns_with_real_tools(
    say: Say, model: ScriptedBackend, client: Client, admin_client: Client
) -> None:
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
    assert last[-1].endswith("<128x128>")
    assert json.loads(last[-2].removeprefix("tool: "))["made"][0]["width"] == 128

    # the history: what was said between, and the jobs
    kept = client.get(f"/api/conversations/{job.result['conversation']}/").json()["messages"]  # type: ignore[index]
    assert [one["role"] for one in kept] == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert [part.get("job") for part in kept[1]["parts"] if part["type"] == "tool_call"] == [calls[0]["job"], calls[1]["job"]]
    assert kept[5]["parts"][-1]["url"].endswith(f"{made['id']}/file/")
    assert kept[-1]["parts"] == [{"type": "text", "text": "There it is."}]
    page = client.get(f"/studio/chat/{job.result['conversation']}/").content.decode()  # type: ignore[index]
    pages = [page, admin_client.get(f"/admin/chat/conversation/{job.result['conversation']}/change/").content.decode()]  # type: ignore[index]
    pages.append(admin_client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode())
    for shown in pages:
        assert all(str(child.pk) in shown for child in children)
    assert f"/api/images/{made['id']}/thumbnail/" in page
    assert page.count("data-copy-text") == 1


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


def read_once(stream: ChunkStream) -> str:
    [chunks] = read_all([stream])
    assert not isinstance(chunks, Exception), chunks
    return b"".join(chunks).decode()


def test_the_stream_tells_calls_and_results_as_they_happen(say: Say) -> None:
    job = say(["Look: ", JUDGE], "Done.")
    stream = ChunkStream(job, None, include_usage=False)
    lines = read_once(stream).split("\n\n")
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
        (("make_picture", {"prompt": "a sun", "width": 64}), "no argument 'width'"),
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


def test_a_child_that_fails_is_told_and_the_dialogue_goes_on(say: Say, model: ScriptedBackend, settings: Any) -> None:
    job = say(JUDGE, JUDGE, "So be it.", working=False)
    loop = WorkerLoop()
    loop.run_once()  # the model calls
    child = job.children.get()
    cancel_job(job=child)
    loop.run_once()  # it calls again
    job.children.exclude(pk=child.pk).get().delete()  # as an admin may
    Job.objects.filter(pk=job.pk).update(status=Status.QUEUED)
    work(loop)
    told = answer(job)["server_tool_calls"]
    assert [(one["status"], one["output"]) for one in told] == [
        ("failed", {"error": "It was cancelled."}),
        ("failed", {"error": "Its job was deleted."}),
    ]
    assert job.warnings == ["judge_layout failed: It was cancelled.", "judge_layout failed: Its job was deleted."]


def test_a_cancelled_chat_cancels_what_it_waits_for_and_keeps_what_was_said(say: Say, client: Client) -> None:
    job = say(["Look.", JUDGE, MAKE], "Done.", working=False)
    loop = WorkerLoop()
    loop.run_once()
    assert Job.objects.get(pk=job.pk).is_waiting
    page = client.get(f"/studio/chat/{Conversation.objects.get().pk}/").content.decode()
    assert page.count("Look.") == 1
    assert "A tool is at work…" in page
    client.post(f"/api/jobs/{job.pk}/cancel/")
    work(loop)
    job.refresh_from_db()
    assert job.status == Status.CANCELLED
    assert {child.status for child in job.children.all()} == {Status.CANCELLED}
    assert not Job.objects.filter(status__in=ACTIVE).exists()
    page = client.get(f"/studio/chat/{Conversation.objects.get().pk}/").content.decode()
    assert "Look." in page
    again = say("Fine.", messages=ask("And?"), conversation=str(Conversation.objects.get().pk))
    assert answer(again)["text"] == "Fine."


POINTS = [
    ("tests.chat.tools.scripted.write", 0),
    ("tests.chat.tools.scripted.write", 1),
    ("tests.chat.tools.scripted.write", 2),
    ("api.chat.server_tools.calling.keep_turn", 0),
    ("api.chat.server_tools.calling.keep_turn", 1),
    ("api.scoring.handler.score_batch", 0),
    ("api.scoring.handler.score_batch", 1),
    ("api.chat.handler.record_answer", 0),
]
"""What a worker was at when it died, and how often it had done that before."""


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("what", "times"), POINTS)
def test_a_worker_that_dies_anywhere_costs_a_turn_and_doubles_nothing(
    say: Say, model: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, what: str, times: int
) -> None:
    """Its rows stay as a SIGKILL leaves them: claimed, with what was committed by then."""
    script = [["Look.", JUDGE], ["Again.", JUDGE], "Done."]
    job, dying = say(*script, working=False), WorkerLoop()
    place, _, name = what.rpartition(".")
    original, left = getattr(sys.modules[place], name), times

    def die(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return original(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(what, die)
        with pytest.raises(Killed):
            work(dying)
    model.active.clear()
    model.script[:] = script[Message.objects.filter(job=job, role="assistant").count() :]
    release_worker(dying.worker.pk)
    Job.objects.update(available_at="2020-01-01T00:00:00Z")
    work()
    assert answer(job)["text"] == "Look.\n\nAgain.\n\nDone."
    assert job.children.count() == 2
    roles = list(Message.objects.filter(job=job).order_by("position").values_list("role", flat=True))
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    stream = ChunkStream(job, None, include_usage=False)
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in read_once(stream).split("\n\n")[:-2]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Look.\n\nAgain.\n\nDone."
    shown = [call for delta in deltas for call in delta.get("server_tool_calls", ())]
    assert len([call for call in shown if "name" in call]) == len([call for call in shown if "status" in call]) == 2


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def test_a_call_of_the_clients_own_tool_ends_the_answer(say: Say, model: ScriptedBackend) -> None:
    job = say(JUDGE, [JUDGE, ("weather", {})], tools=[WEATHER])
    found = answer(job)
    assert [call["name"] for call in found["tool_calls"]] == ["weather"]
    assert (found["finish_reason"], len(found["server_tool_calls"])) == ("tool_calls", 1)
    assert job.warnings == ["judge_layout was not run: a call of the client's own tool ended the answer."]
    assert [tool.name for tool in model.read[0].tool_use.tools] == ["weather", *sorted(ALL)]  # type: ignore[union-attr]
    [call] = found["tool_calls"]
    messages = [
        *job_messages(job),
        {"role": "assistant", "content": None, "tool_calls": [{"id": call["id"], "function": call}]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    assert answer(say("Sunny.", messages=messages, tools=[WEATHER]))["text"] == "Sunny."
    assert Conversation.objects.count() == 1


def test_turns_and_tokens_are_bounded(say: Say, model: ScriptedBackend) -> None:
    job = say(JUDGE, JUDGE, "Enough.", max_tool_turns=2)
    assert answer(job)["text"] == "Enough."
    assert [bool(request.tool_use) for request in model.read] == [True, True, False]
    assert job.warnings == ["Tools were called in all 2 turns that max_tool_turns allows; then the model had to answer."]
    short = say(JUDGE, max_tokens=10)
    assert (answer(short)["text"], answer(short)["finish_reason"]) == ("", "length")
    counted = say([JUDGE, JUDGE], "Enough.", max_tool_calls=1)
    assert [call["status"] for call in answer(counted)["server_tool_calls"]] == ["succeeded", "failed"]
    assert counted.warnings[-1] == "All 1 calls of tools that max_tool_calls allows were made; then the model had to answer."
    many = say([JUDGE] * 9, "Too many.")
    assert [call["status"] for call in answer(many)["server_tool_calls"]] == ["succeeded"] * 8 + ["failed"]


def test_a_call_that_was_cut_off_is_shown_to_people_alone(
    say: Say, model: ScriptedBackend, client: Client, admin_client: Client
) -> None:
    job = say([MAKE, CUT])
    found = Message.objects.get(job=job, finish_reason="length")
    [cut] = [part for part in found.parts if part["type"] == "cut_call"]
    assert (cut["name"], cut["arguments"]) == ("make_picture", '{"prompt": "a red circle"}')
    page = client.get(f"/studio/chat/{found.conversation_id}/").content.decode()
    assert f"make_picture: cut off after {found.completion_tokens} token" in page
    admins = admin_client.get(f"/admin/chat/conversation/{found.conversation_id}/change/").content.decode()
    assert f"make_picture: cut off after {found.completion_tokens} token" in admins
    more = say("More.", messages=ask("And?"), conversation=str(found.conversation_id))
    assert answer(more)["text"] == "More."
    assert not [line for line in texts(model.read[-1]) if "red circle" in line]


def test_a_model_that_sees_no_pictures_works_with_their_ids(say: Say, model: ScriptedBackend) -> None:
    blind: dict[str, Any] = {"model": "phi-2", "messages": ask("Draw.")}
    job = say(MAKE, ("find_objects", {}), "Drawn.", **blind)
    made, found = answer(job)["server_tool_calls"]
    assert (made["status"], found["status"]) == ("succeeded", "succeeded")
    assert found["output"]["width"] == 128
    assert not [line for request in model.read for line in texts(request) if "<128x128>" in line]
    offered = model.read[1].tool_use.tools[0].schema["properties"]  # type: ignore[union-attr]
    assert offered["picture_id"]["enum"] == [made["images"][0]["id"]]
    assert model.read[0].tool_use.tools[0].schema["required"] == ["picture_id"]  # type: ignore[union-attr]
    more = say("More.", **{**blind, "messages": ask("More?"), "conversation": job.result["conversation"]})  # type: ignore[index]
    assert more.warnings == ["'phi-2' reads text only; pictures of tools' results are not shown to it."]


def test_what_rules_refuse_is_not_made_for_a_model_either_and_its_own_words_may_come_back(say: Say) -> None:
    seen = say(["A circle.", JUDGE], "It is one.")
    rule = PromptRule.objects.create(name="no circles", expression="circle", action="refuse", message="No circles here.")
    job = say(MAKE, "I may not.")
    [told] = answer(job)["server_tool_calls"]
    assert (told["status"], told["output"]) == ("failed", {"error": "No circles here."})
    messages = [*job_messages(seen), {"role": "assistant", "content": "A circle.\n\nIt is one."}, *ask("And?")]
    assert answer(say("Yes.", messages=messages))["text"] == "Yes."
    rule.delete()  # which other tests' requests are told of, too


def test_calls_of_one_turn_beyond_a_quota_are_told_to_the_model_and_the_others_are_run(
    say: Say, model: ScriptedBackend
) -> None:
    """Each alone would fit; a judge's overlays count as pictures, too."""
    _, key = create_key(name="two pictures", quotas={"pictures_per_day": 2})
    job = say(["Two of them.", JUDGE, MAKE, MAKE], "One is here.", key=key)
    found = answer(job)
    assert [call["status"] for call in found["server_tool_calls"]] == ["succeeded", "succeeded", "failed"]
    assert found["text"].endswith("One is here.")
    told = list(texts(model.read[1]))[4]
    assert "The limit pictures_per_day of your key is 2, of which 0 are used and 2 reserved" in told
    assert job.warnings == ["make_picture failed: " + json.loads(told.removeprefix("tool: "))["error"]]
    assert [child.kind for child in job.children.order_by("pk")] == ["layout_score", "txt2img"]


def test_another_owners_picture_is_not_to_be_had(say: Say, model: ScriptedBackend, client: Client) -> None:
    other = store_pixels(owner_key="somebody", image=picture())
    [told] = answer(say(("judge_layout", {"picture_id": str(other.pk)}), "No."))["server_tool_calls"]
    assert told["output"] == {"error": "image: There is no image with this id."}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"server_tools": ["find_object"]}, "server_tools", "'find_objects'"),
        ({"server_tools": "find_objects"}, "server_tools", "list"),
        ({"server_tools": [7]}, "server_tools", "7"),
        ({"server_tools": ALL, "n": 2}, "n", "one answer"),
        ({"server_tools": ALL, "max_tool_turns": 17}, "max_tool_turns", "16"),
        ({"server_tools": [], "max_tool_turns": 2}, "max_tool_turns", "server_tools"),
        ({"max_tool_calls": 2}, "max_tool_calls", "server_tools"),
        ({"server_tools": ALL, "tools": [{**WEATHER, "function": {"name": "find_objects"}}]}, "tools", "two tools"),
        ({"server_tools": ALL, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "'x'"),
    ],
)
def test_a_wrong_field_is_named(client: Client, fields: dict[str, Any], param: str, words: str) -> None:
    body = {"model": "starter-vlm", "messages": ask("hello"), **fields}
    reply = client.post("/v1/chat/completions", body, content_type="application/json", headers={"Prefer": "respond-async"})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["param"] == param
    assert words in error["message"]
    assert not Job.objects.exists()
