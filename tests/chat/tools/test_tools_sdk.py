"""OpenAI's SDK calls tools: forced calls of a real small model, whole and streamed, and a dialogue that goes on with a result."""

import json
from typing import Any

import openai
import pytest

from tests.chat.conftest import ask
from tests.live import LiveServer

pytestmark = pytest.mark.models
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 9}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
OPTIONS: Any = {
    "model": "tiny-llama",
    "temperature": 1,
    "seed": 3,
    "max_tokens": 120,
    "tools": [WEATHER],
    "tool_choice": "required",
}
ONE: Any = {"parallel_tool_calls": False}


def test_a_required_call_comes_whole_and_streamed_the_same_and_is_answered(sdk: openai.OpenAI, server: LiveServer) -> None:
    messages: list[Any] = ask("Is it warm in Bern?")
    reply = sdk.chat.completions.create(messages=messages, **OPTIONS, **ONE)
    choice = reply.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    [call] = choice.message.tool_calls or []
    assert 1 <= json.loads(call.function.arguments)["days"] <= 9
    with sdk.chat.completions.stream(messages=messages, **OPTIONS, **ONE) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        streamed = stream.get_final_completion().choices[0]
    assert [(event.name, event.arguments) for event in done] == [("get_weather", call.function.arguments)]
    assert (streamed.finish_reason, streamed.message.content) == ("tool_calls", None)

    result = {"role": "tool", "tool_call_id": call.id, "content": "19 degrees"}
    messages += [choice.message.model_dump(), result]
    follow = sdk.chat.completions.create(messages=messages, **{**OPTIONS, "tool_choice": "none", "max_tokens": 5})
    kept = server.client.get(f"/api/conversations/{follow.conversation}/").json()["messages"]
    assert [message["role"] for message in kept] == ["user", "assistant", "tool", "assistant"]
    [part] = kept[1]["parts"]
    assert (part["type"], part["name"], part["arguments"]) == ("tool_call", "get_weather", call.function.arguments)
    again = server.client.post(f"/api/jobs/{follow.job}/retry/", json={})
    assert again.status_code in (201, 202), again.text


def test_a_named_call_and_json_are_closed_before_the_last_token(sdk: openai.OpenAI) -> None:
    endless: Any = {"type": "function", "function": {"name": "note", "parameters": {
        "type": "object", "properties": {"text": {"type": "string"}, "more": {"type": "array", "items": {"type": "string"}}},
        "required": ["text", "more"],
    }}}  # fmt: skip
    choice: Any = {"type": "function", "function": {"name": "note"}}
    for seed in range(4):
        options: Any = {**OPTIONS, "seed": seed, "tools": [endless], "tool_choice": choice}
        answer = sdk.chat.completions.create(messages=ask("Write."), **options).choices[0]
        [call] = answer.message.tool_calls or []
        assert json.loads(call.function.arguments).keys() >= {"text", "more"}
        assert answer.finish_reason == "stop"
        schema = {"type": "json_schema", "json_schema": {"name": "note", "schema": endless["function"]["parameters"]}}
        plain = sdk.chat.completions.create(
            model="tiny-llama", messages=ask("Write."), seed=seed, temperature=1, max_tokens=120, response_format=schema
        )
        assert json.loads(plain.choices[0].message.content or "").keys() >= {"text", "more"}


def test_a_schema_that_can_be_held_in_part_is_told(sdk: openai.OpenAI) -> None:
    loose: Any = {"type": "function", "function": {"name": "pick", "parameters": {
        "type": "object", "properties": {"all": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}}
    }}}  # fmt: skip
    for choice in ("auto", "required"):
        reply: Any = sdk.chat.completions.create(
            model="tiny-llama", messages=ask("Pick."), max_tokens=3, tools=[loose], tool_choice=choice
        )
        told = "The schema of the tool pick: 'properties.all.uniqueItems' has no effect, since it can't be enforced here."
        assert reply.warnings == [told]


def test_a_call_that_must_come_is_nothing_but_a_call(sdk: openai.OpenAI, server: LiveServer) -> None:
    """Not where it breaks off either; without arguments that its schema doesn't name; and it ends where few tokens are left."""
    for tokens in (1, 7, 13):
        cut: Any = {**OPTIONS, "max_tokens": tokens, "messages": ask("Write."), **ONE}
        reply: Any = sdk.chat.completions.create(**cut)
        answer = reply.choices[0]
        assert (answer.finish_reason, answer.message.content or None) == ("length", None)
        [kept] = server.client.get(f"/api/jobs/{reply.job}/").json()["result"]["choices"]  # for people
        assert kept.get("tool_calls") or kept["cut_calls"][0]["arguments"]
        with sdk.chat.completions.stream(**cut) as stream:
            assert [event for event in stream if event.type == "content.delta" and event.delta] == []
    plain: Any = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    whole = sdk.chat.completions.create(messages=ask("Write."), **{**OPTIONS, "tools": [plain]}).choices[0]
    assert {call.function.arguments for call in whole.message.tool_calls or []} == {"{}"}
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)


def test_a_stream_that_is_left_in_the_middle_of_a_call_ends_its_job_and_nothing_else(
    sdk: openai.OpenAI, server: LiveServer
) -> None:
    text: Any = {"type": "object", "properties": {"text": {"type": "string", "minLength": 500}}, "required": ["text"]}
    long: Any = {"type": "function", "function": {"name": "note", "parameters": text}}
    options: Any = {**OPTIONS, "tools": [long], "max_tokens": 600}
    with sdk.chat.completions.create(messages=ask("Write."), stream=True, **options) as stream:
        chunk: Any = next(chunk for chunk in stream if chunk.choices[0].delta.tool_calls)
    server.wait_until(lambda: server.client.get(f"/api/jobs/{chunk.job}/").json()["finished_at"], "the job has ended", 20)
    assert server.client.get(f"/api/jobs/{chunk.job}/").json()["status"] == "cancelled"
    kept = server.client.get(f"/api/conversations/{chunk.conversation}/").json()["messages"]
    assert [message["role"] for message in kept] == ["user"]
    again = sdk.chat.completions.create(messages=ask("Still there?"), model="tiny-llama", max_tokens=3)
    assert again.usage is not None
