"""OpenAI's Responses without a model: what is refused and by which name, what goes on from what, and what is kept."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.chat.models import Conversation, Message
from api.dialects.models import StoredResponse
from api.dialects.openai.responses.streaming import ResponseStream
from api.jobs.lifecycle import claim_jobs, finish_job
from api.jobs.models import Job, JobEvent, Worker
from tests.chat.conftest import data_url, picture
from tests.walks import check_each

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct"
PATH = "/v1/responses"
Ask = Callable[..., dict[str, Any]]


def body(value: Any = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": value, "seed": 1, **fields}


def send(client: Client, sent: Any, headers: Any = None) -> Any:
    return client.post(PATH, sent, content_type="application/json", headers={"Prefer": "respond-async", **(headers or {})})


@pytest.fixture
def ask(client: Client, media: None) -> Ask:
    """Asks in the background; `answer` is given by a worker, as a text or as calls."""

    def call(value: Any = "hello", answer: Any = None, headers: Any = None, **fields: Any) -> dict[str, Any]:
        reply = client.post(
            PATH, body(value, background=True, **fields), content_type="application/json", headers=headers or {}
        )
        assert reply.status_code == 200, reply.content
        if answer is not None:
            finish(answer)
        return reply.json()  # type: ignore[no-any-return]

    return call


def finish(answer: Any) -> None:
    from api.jobs.kinds import get_kind

    [job] = claim_jobs(worker=Worker.objects.create(hostname="here", pid=1))
    said: dict[str, Any] = {"text": answer} if isinstance(answer, str) else {"text": "", "tool_calls": answer}
    choice = {**said, "finish_reason": "stop", "completion_tokens": 3, "logprobs": None}
    output = {
        "backend": "pytorch", "model": MODEL, "choices": [choice], "prompt_tokens": 10, "cached_tokens": 4, "dropped_tokens": 0,
        "first_token_seconds": 0.1, "seconds": 0.4,
    }  # fmt: skip
    finish_job(job=job, record=lambda row: get_kind("chat").record(row, output))


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def tool(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, **fields}


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "7"}
BAD_SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}
MUST = {"tools": [tool(parameters=BAD_SCHEMA, strict=True)]}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": None}, "input", "null"),
    ({"input": []}, "input", "at least one item"),
    ({"input": [5]}, "input[0]", "object"),
    ({"input": [{"type": "item_reference", "id": "x"}] * 2001}, "input", "2000 is the limit"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "'tool'"),
    ({"input": [{"role": "user"}]}, "input[0].content", "text"),
    ({"input": user({"type": "input_txt", "text": "x"})}, "input[0].content[0].type", "'input_text'"),
    ({"input": user({"type": "input_text"})}, "input[0].content[0].text", "text"),
    ({"input": user({"type": "input_file", "file_id": "x"})}, "input[0].content[0].type", "Files are not read"),
    ({"input": user({"type": "input_image"})}, "input[0].content[0].image_url", "image_url"),
    ({"input": user({"type": "input_image", "image_url": "!"})}, "input[0].content[0].image_url", ""),
    ({"input": user({"type": "input_image", "image_url": "x", "detail": "some"})}, "input[0].content[0].detail", "auto"),
    ({"input": [{"role": "user", "content": "x", "nmae": "y"}]}, "input[0].nmae", "Unknown"),
    ({"input": [{"type": "web_search_call"}]}, "input[0].type", "doesn't have"),
    ({"input": [{"type": "mesage"}]}, "input[0].type", "'message'"),
    ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input", "nothing in it"),
    ({"input": ["x", {"type": "item_reference", "id": "msg_1"}][1:]}, "input[0].id", "no item"),
    ({"input": [CALL, RESULT, CALL]}, "input[2].call_id", "two calls"),
    ({"input": [{"role": "assistant", "content": "a"}, CALL, CALL]}, "input[2].call_id", "two calls"),
    ({"input": [RESULT]}, "input[0].call_id", "No message before it"),
    ({"input": [CALL, {**RESULT, "output": user()}]}, "input[1].output[0].type", "no part"),
    ({"input": [{**CALL, "arguments": None}]}, "input[0].arguments", "text"),
    ({"instructions": 5.5, "input": "x" * 400_001}, "input", "maximum context length"),
    ({"temperature": 3}, "temperature", "2"),
    ({"max_output_tokens": 0}, "max_output_tokens", "1"),
    ({"inputs": "x"}, "inputs", "'input'"),
    ({"messages": []}, None, ""),
    ({"n": 2}, "n", "can't be used"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "can't be used"),
    ({"service_tier": "flex"}, "service_tier", "can't be used"),
    ({"reasoning": {"effort": "high"}}, "reasoning.effort", "'high'"),
    ({"reasoning": {"efort": "high"}}, "reasoning.efort", "'effort'"),
    ({"text": {"verbosity": "low"}}, "text.verbosity", "in words"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type", "xml"),
    ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "text.format.name", ""),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema", "json_object"),
    ({"text": {"format": {"type": "json_schema", "name": "a", "schema": None}}}, "text.format.schema", "json_object"),
    (
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": BAD_SCHEMA}}},
        "text.format.schema",
        "can't be followed",
    ),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
    ({"tools": [tool("a b")]}, "tools[0].name", ""),
    ({"tools": [tool("a"), tool("a")]}, "tools", "two tools"),
    (MUST, "tools[0].parameters", "can't be followed"),
    ({"tools": [tool()], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice", "'g'"),
    ({"tools": [tool()], "tool_choice": {"type": "file_search"}}, "tool_choice.type", "no tools of its own"),
    ({"tools": [tool()], "tool_choice": {"type": "allowed_tools", "mode": "x", "tools": []}}, "tool_choice", "mode"),
    ({"include": ["nothing"]}, "include", "'nothing'"),
    ({"truncation": "some"}, "truncation", "some"),
    ({"background": True, "store": False}, "background", "store"),
    ({"previous_response_id": "resp_1", "conversation": "x"}, "conversation", "previous_response_id"),
    ({"conversation": {"id": "conv_1"}}, "conversation", "UUID"),
    ({"stream_options": {"include_usage": True}}, "stream_options.include_usage", "Unknown"),
]


def test_a_wrong_field_is_named_as_responses_have_it(client: Client, media: None) -> None:
    def check(fields: dict[str, Any], param: str | None, words: str) -> None:
        reply = send(client, body(**{"value": "hello", **{("value" if k == "input" else k): v for k, v in fields.items()}}))
        assert reply.status_code == (202 if param is None else 400), reply.content
        if param is not None:
            error = reply.json()["error"]
            assert (error["param"], words in error["message"]) == (param, True), error

    check_each(REFUSED, check)
    assert StoredResponse.objects.count() == Job.objects.count() == sum(param is None for _, param, _ in REFUSED)


NOTHING: dict[str, Any] = {
    "tools": [], "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "medium", "summary": "auto"}, "service_tier": "auto",
    "text": {"format": {"type": "text"}, "verbosity": "medium"}, "prompt_cache_key": "k", "prompt_cache_retention": "24h",
    "stream_options": {"include_obfuscation": False}, "max_tool_calls": 3, "truncation": "disabled", "prompt": None, "top_logprobs": 0,
    "safety_identifier": "s", "conversation": None, "previous_response_id": None, "instructions": None, "parallel_tool_calls": True,
}  # fmt: skip


def test_what_asks_for_nothing_changes_nothing_and_a_chat_says_the_same(client: Client, ask: Ask) -> None:
    plain, full = (Job.objects.get(pk=ask(**fields)["job"]).params for fields in ({}, NOTHING))
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "seed": 1}
    reply = client.post(
        "/v1/chat/completions", chat, content_type="application/json", headers={"Prefer": "respond-async"}
    ).json()
    text = {"type": "text"}
    assert {**full, "response_format": full["response_format"] or text} == {**plain, "response_format": text}
    assert plain == Job.objects.get(pk=reply["id"]).params


def test_items_of_all_kinds_become_the_messages_of_a_chat(ask: Ask) -> None:
    image = {"type": "input_image", "image_url": data_url(picture()), "detail": "original"}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    said = {"type": "message", "role": "assistant", "id": "msg_9", "status": "completed", "content": [
        {"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}
    ]}  # fmt: skip
    question = user(image, {"type": "input_text", "text": "What?"})
    results = [RESULT, {**RESULT, "call_id": "c2", "output": [{"type": "input_text", "text": "8"}]}]
    items = [
        {"role": "developer", "content": "Be short."}, *question, reasoning, said, CALL, {**CALL, "call_id": "c2"}, *results
    ]  # fmt: skip
    reply = ask(items, "Fifteen.", tools=[tool()], instructions="Answer.", tool_choice={"type": "function", "name": "f"})
    turns = Job.objects.get(pk=reply["job"]).params["messages"]
    assert [turn["role"] for turn in turns] == ["system", "system", "user", "assistant", "tool", "tool"]
    assert turns[2]["parts"][0]["detail"] == "high"
    assert [part["type"] for part in turns[3]["parts"]] == ["text", "tool_call", "tool_call"]
    assert reply["tool_choice"] == {"type": "function", "name": "f"}
    assert reply["tools"] == [{**tool(), "description": None, "strict": False}]
    assert "reasoning" in reply["warnings"][0]


def test_what_goes_on_from_an_answer_is_its_conversation_and_twice_two_branches(client: Client, ask: Ask) -> None:
    first = ask("one", "first", instructions="Be brief.")
    second = ask("two", previous_response_id=first["id"])
    other = ask("2", previous_response_id=first["id"], instructions="Be long.")  # while the other is not answered
    finish("second")
    finish("other")
    third = ask("three", "third", previous_response_id=second["id"])
    fourth = ask("four", "fourth", previous_response_id=other["id"])

    def told(response: dict[str, Any]) -> list[str]:
        return [turn["parts"][0]["text"] for turn in Job.objects.get(pk=response["job"]).params["messages"]]

    assert told(third) == ["one", "first", "two", "second", "three"]
    assert told(other) == ["Be long.", "one", "first", "2"]
    assert told(fourth) == ["one", "first", "2", "other", "four"]
    conversation = Conversation.objects.get()
    shown = list(conversation.messages.filter(active=True).values_list("text", flat=True))
    assert shown == ["Be brief.", "one", "first", "2", "other", "four", "fourth"]
    named = ask("five", conversation={"id": str(conversation.pk)})
    assert told(named) == ["one", "first", "2", "other", "four", "fourth", "five"]
    assert named["conversation"] == {"id": str(conversation.pk)}


def test_a_response_under_way_shows_what_is_written(client: Client, ask: Ask) -> None:
    address = f"{PATH}/{ask(tools=[tool('f')])['id']}"
    assert client.get(address).json()["output"] == []
    [job] = claim_jobs(worker=Worker.objects.create(hostname="here", pid=1))
    call = {"index": 0, "number": 0, "id": "call_1", "name": "f", "offset": 0}
    told: Any = [
        ("token", {"index": 0, "offset": 0, "text": "Let me "}),
        ("token", {"index": 0, "offset": 7, "text": "see."}),
        ("tool_call", {**call, "arguments": '{"a"'}),
    ]
    for number, (kind, data) in enumerate(told, 10_000):
        JobEvent.objects.create(job=job, sequence=number, type=kind, data=data)
    found = client.get(address).json()
    message, function = found["output"]
    assert (found["status"], message["status"], function["status"]) == ("in_progress", "completed", "in_progress")
    assert (message["content"][0]["text"], function["name"], function["arguments"]) == ("Let me see.", "f", '{"a"')


def test_a_count_of_tokens_is_no_response_and_leaves_no_conversation(client: Client, media: None) -> None:
    def count(**fields: Any) -> Any:
        return client.post(f"{PATH}/input_tokens", fields, content_type="application/json", headers={"Prefer": "respond-async"})

    assert count(model=MODEL, input="hello", instructions="Be short.", tools=[tool("f")]).status_code == 202
    finish("x")
    assert not StoredResponse.objects.exists()
    assert not Conversation.objects.exists()
    for fields, param in (
        ({"input": "a", "stream": True}, "stream"),
        ({"input": "a", "temperature": 1}, "temperature"),
        ({}, "input"),
    ):
        assert count(model=MODEL, **fields).json()["error"]["param"] == param


def test_what_counts_no_calls_says_so(client: Client, ask: Ask) -> None:
    assert ask(max_tool_calls=3)["warnings"] == [
        "max_tool_calls: Has no effect: it counts calls that this server runs, and server_tools asks for none."
    ]
    job = Job.objects.get(pk=ask(max_tool_calls=3, server_tools=["find_objects"], model="starter-vlm")["job"])
    assert (job.params["max_tool_calls"], job.warnings) == (3, [])


def test_only_its_owner_reads_goes_on_from_cancels_and_deletes_a_response(client: Client, media: None) -> None:
    owner, other = ({"Authorization": f"Bearer {create_key(name=name)[1]}"} for name in ("owner", "other"))
    first = client.post(PATH, body(background=True), content_type="application/json", headers=owner).json()
    address = f"{PATH}/{first['id']}"
    for send_it in (client.get, client.delete):
        assert send_it(address, headers=other).json()["error"]["code"] == "response_not_found"
    assert client.post(f"{address}/cancel", headers=other).status_code == 404
    assert client.get(f"{address}/input_items", headers=other).status_code == 404
    reply = send(client, body(previous_response_id=first["id"]), other)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "previous_response_not_found")
    reference = [{"type": "item_reference", "id": client.get(f"{address}/input_items", headers=owner).json()["first_id"]}]
    assert send(client, body(reference), other).json()["error"]["param"] == "input[0].id"
    assert send(client, body(reference), owner).status_code == 202
    running = send(client, body(previous_response_id=first["id"]), owner)
    assert (running.status_code, running.json()["error"]["code"]) == (409, "response_in_progress")
    assert running.json()["error"]["param"] == "previous_response_id"
    assert client.post(f"{address}/cancel", headers=owner).json()["status"] == "cancelled"
    gone_on = send(client, body(previous_response_id=first["id"]), owner)
    assert (gone_on.status_code, gone_on.json()["error"]["code"]) == (400, "no_answer")


def test_what_is_not_stored_or_deleted_is_not_found_and_the_history_says_what_is_kept(client: Client, ask: Ask) -> None:
    hidden = send(client, body("hidden", store=False)).json()
    identifier = f"resp_{hidden['id'].replace('-', '')}"
    assert client.get(f"{PATH}/{identifier}").status_code == 404
    assert send(client, body(previous_response_id=identifier)).status_code == 404
    assert client.get(f"/api/jobs/{hidden['id']}/").status_code == 200
    finish("hidden answer")

    first = ask("one", "first")
    second = ask("two", "second", previous_response_id=first["id"])
    assert client.delete(f"{PATH}/{first['id']}").json() == {"id": first["id"], "object": "response", "deleted": True}
    assert client.get(f"{PATH}/{first['id']}").status_code == 404
    third = ask("three", "third", previous_response_id=second["id"])
    assert len(Job.objects.get(pk=third["job"]).params["messages"]) == 5
    client.delete(f"{PATH}/{third['id']}")
    assert not Job.objects.filter(pk=third["job"]).exists()
    assert not Message.objects.filter(text__contains="three").exists()


def test_input_items_come_in_pages(client: Client, ask: Ask) -> None:
    first = ask([*user({"type": "input_image", "image_url": data_url(picture())}), CALL, RESULT], "first")
    address = f"{PATH}/{ask('two', previous_response_id=first['id'])['id']}/input_items"
    whole = client.get(f"{address}?order=asc").json()
    assert [item["type"] for item in whole["data"]] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
        "message",
    ]
    assert client.get(address).json()["data"] == whole["data"][::-1]
    page = client.get(f"{address}?order=asc&limit=2").json()
    assert (page["data"], page["has_more"], page["last_id"]) == (whole["data"][:2], True, whole["data"][1]["id"])
    rest = client.get(f"{address}?order=asc&after={page['last_id']}").json()
    assert (rest["data"], rest["has_more"]) == (whole["data"][2:], False)
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("after=x", "after")):
        assert client.get(f"{address}?{query}").json()["error"]["param"] == param
    again = ask(whole["data"], "again")  # what comes out goes in again
    assert client.get(f"{PATH}/{again['id']}/input_items").json()["data"][0]["content"] == whole["data"][-1]["content"]


def test_a_failed_response_says_why_and_is_told_by_its_stream(client: Client, ask: Ask) -> None:
    reply = ask()
    error = {"status": 507, "code": "out_of_memory", "detail": "Too large."}
    Job.objects.filter(pk=reply["job"]).update(status="failed", error=error)
    shown = client.get(f"{PATH}/{reply['id']}").json()
    assert (shown["status"], shown["error"]) == ("failed", {"code": "out_of_memory", "message": "Too large."})
    stream = ResponseStream(StoredResponse.objects.get())
    events = hear(stream, token(0, "ab"), JobEvent(type="error", data=error))
    assert [event["type"] for event in events][-2:] == ["response.output_item.done", "response.failed"]
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"
    late = [json.loads(line.decode().split("data: ")[1]) for line in ResponseStream(StoredResponse.objects.get()).finish()]
    assert late[-1]["type"] == "response.failed"  # its events are gone


def token(offset: int, text: str) -> JobEvent:
    return JobEvent(type="token", data={"index": 0, "offset": offset, "text": text})


def hear(stream: ResponseStream, *events: JobEvent) -> list[dict[str, Any]]:
    lines = [line.decode() for event in events for line in stream.encode(event)]
    return [json.loads(line.split("data: ")[1]) for line in lines]


def test_text_behind_a_call_is_another_message_and_an_end_is_told_also_where_events_are_gone(ask: Ask) -> None:
    reply = ask(tools=[tool()])
    call = {"id": "c1", "name": "f", "arguments": '{"a": 1}'}
    finish([call])
    row = StoredResponse.objects.get(job=reply["job"])
    pieces = [{**call, "arguments": call["arguments"][:4]}, {**call, "arguments": call["arguments"][4:]}]
    begun, ended = (
        JobEvent(type="tool_call", data={"index": 0, "number": 0, "offset": 4 * place, **piece})
        for place, piece in enumerate(pieces)
    )
    late = ResponseStream(row, starting_after=50)
    assert [(event["type"], event["sequence_number"]) for event in hear(late, JobEvent(type="result", data={}))] == [
        ("response.completed", 51)
    ]
    Job.objects.filter(pk=row.pk).update(result={**row.job.result, "choices": [{**row.job.result["choices"][0], "text": "ab"}]})
    events = hear(ResponseStream(row), token(0, "a"), begun, token(1, "b"), ended, JobEvent(type="result", data={}))
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["message", "function_call", "message"]
    assert (done[1]["arguments"], done[2]["content"][0]["text"]) == (call["arguments"], "b")
    assert events[-1]["response"]["output"] == done
