"""OpenAI's current SDK, unchanged, speaks Responses to a running server: sync and async, its stream helper, parse, tools."""

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseInputTextParam
from pydantic import BaseModel, Field

from tests.chat.conftest import data_url, picture
from tests.live import LiveServer

pytestmark = pytest.mark.models
SHORT: Any = {"model": "tiny-llama", "input": "What is in this image?", "temperature": 0, "max_output_tokens": 12}
ORDER = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
END = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 9}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


class Item(BaseModel):
    name: str = Field(max_length=20)
    count: int


def kinds(events: Any) -> list[str]:
    return [event.type for event in events]


def test_an_answer_its_chat_completion_and_its_stream_say_the_same(sdk: openai.OpenAI) -> None:
    chat = sdk.chat.completions.create(
        model="tiny-llama", messages=[{"role": "user", "content": SHORT["input"]}], temperature=0, max_tokens=12
    )
    reply = sdk.responses.create(**SHORT)
    assert reply.output_text == chat.choices[0].message.content
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (chat.usage.prompt_tokens, 12)
    assert Response.model_validate(reply.to_dict()).output[0].type == "message"  # to the letter of their types

    events = list(sdk.responses.create(**SHORT, stream=True))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert kinds(events) == [*ORDER, *kinds(deltas), *END, "response.incomplete"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in deltas) == reply.output_text == events[-1].response.output_text
    again = sdk.responses.retrieve(events[-1].response.id)
    assert again.to_dict() == events[-1].response.to_dict()


def test_the_stream_helper_and_parse_give_what_a_schema_asks_for(sdk: openai.OpenAI) -> None:
    options: Any = {"model": "tiny-llama", "input": "Name an item.", "text_format": Item, "max_output_tokens": 200}
    parsed = sdk.responses.parse(**options)
    assert isinstance(parsed.output_parsed, Item)
    with sdk.responses.stream(**options) as stream:
        done = [event for event in stream if event.type == "response.output_text.done"]
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, Item)
    assert done[0].parsed == final.output_parsed
    assert final.text.format.type == "json_schema"


def test_a_call_comes_whole_and_streamed_and_its_output_goes_on(sdk: openai.OpenAI, server: LiveServer) -> None:
    options: Any = {
        **SHORT, "temperature": 1, "seed": 3, "max_output_tokens": 120, "tools": [WEATHER], "tool_choice": "required",
        "parallel_tool_calls": False, "extra_body": {"seed": 3},
    }  # fmt: skip
    del options["seed"]
    reply = sdk.responses.create(**options)
    [call] = reply.output
    assert (reply.status, call.type, reply.output_text) == ("completed", "function_call", "")
    assert 1 <= json.loads(call.arguments)["days"] <= 9
    with sdk.responses.stream(**options) as stream:
        events = list(stream)
        final = stream.get_final_response()
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [event.arguments for event in done] == [call.arguments] == [final.output[0].arguments]
    assert final.tools[0].name == final.output[0].name == "get_weather"

    result = {"type": "function_call_output", "call_id": call.call_id, "output": "19 degrees"}
    on: Any = {**SHORT, "input": [result], "previous_response_id": reply.id}
    follow = sdk.responses.create(**on)
    told = sdk.responses.input_items.list(follow.id, order="asc").data
    assert [item.type for item in told] == ["message", "function_call", "function_call_output"]
    kept = server.client.get(f"/api/conversations/{follow.conversation.id}/").json()["messages"]
    assert [message["role"] for message in kept] == ["user", "assistant", "tool", "assistant"]

    stateless: Any = [{"role": "user", "content": SHORT["input"]}, *(item.to_dict() for item in reply.output), result]
    whole = sdk.responses.create(**{**SHORT, "input": stateless})
    assert whole.output_text == follow.output_text


def test_pictures_are_seen_and_detail_counts(sdk: openai.OpenAI) -> None:
    def ask(detail: str, colour: str = "red") -> Response:
        shown = {"type": "input_image", "image_url": data_url(picture(colour, (128, 96))), "detail": detail}
        content = [shown, ResponseInputTextParam(type="input_text", text="What?")]
        return sdk.responses.create(
            model="tiny/vlm", temperature=0, max_output_tokens=8, input=[{"role": "user", "content": content}]
        )

    low, high, blue = ask("low"), ask("high"), ask("low", "blue")
    assert low.usage.input_tokens < high.usage.input_tokens / 2
    assert low.output_text != blue.output_text
    [item] = sdk.responses.input_items.list(low.id).data
    assert item.content[0].image_url.startswith("darkroom://images/")


async def test_the_async_client_goes_on_from_its_answer_twice_and_instructions_are_not_carried_over(
    server: LiveServer,
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        first = await client.responses.create(**SHORT, instructions="Be short.")
        on = {**SHORT, "previous_response_id": first.id}
        second = await client.responses.create(**{**on, "input": "And then?"})
        other = await client.responses.create(**{**on, "input": "Or else?"})
        third = await client.responses.create(**{**SHORT, "input": "Why?", "previous_response_id": second.id})
    assert {one.conversation.id for one in (second, other, third)} == {first.conversation.id}
    kept = server.client.get(f"/api/conversations/{first.conversation.id}/").json()["messages"]
    texts = [message["parts"][0]["text"] for message in kept]
    said = [SHORT["input"], first.output_text, "And then?", second.output_text, "Why?", third.output_text]
    assert texts == ["Be short.", *said]  # the branch that goes on
    job = server.client.get(f"/api/jobs/{third.job}/").json()
    assert [message["content"] for message in job["params"]["messages"]] == said[:-1]


def test_a_response_in_the_background_is_followed_resumed_and_cancelled(sdk: openai.OpenAI, server: LiveServer) -> None:
    queued = sdk.responses.create(**SHORT, background=True)
    assert queued.status in ("queued", "in_progress")
    server.wait_until(lambda: sdk.responses.retrieve(queued.id).status == "incomplete", "it is answered")
    events = list(sdk.responses.retrieve(queued.id, stream=True))
    assert kinds(events)[:3] == ["response.created", "response.queued", "response.in_progress"]
    rest = list(sdk.responses.retrieve(queued.id, stream=True, starting_after=events[4].sequence_number))
    assert [event.to_dict() for event in rest] == [event.to_dict() for event in events[5:]]

    long: Any = {**SHORT, "max_output_tokens": 900}
    running = sdk.responses.create(**long, background=True, stream=True)
    created = next(iter(running)).response
    running.close()
    assert sdk.responses.retrieve(created.id).status in ("queued", "in_progress")  # its client has left
    sdk.responses.cancel(created.id)
    server.wait_until(lambda: sdk.responses.retrieve(created.id).status == "cancelled", "it is cancelled", seconds=10)
    sdk.responses.delete(created.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(created.id)


def test_tokens_are_counted_by_the_models_own_tokenizer(sdk: openai.OpenAI) -> None:
    asked: Any = {"model": SHORT["model"], "input": "What is a darkroom?", "instructions": "Be short."}
    counted = sdk.responses.input_tokens.count(**asked)
    assert counted.object == "response.input_tokens"
    usage = sdk.responses.create(**asked, max_output_tokens=2).usage
    assert usage is not None
    assert counted.input_tokens == usage.input_tokens > 5


def test_what_is_too_long_is_an_error_or_loses_its_oldest_messages(sdk: openai.OpenAI) -> None:
    turns: Any = [{"role": "user" if place % 2 == 0 else "assistant", "content": f"{place} " * 100} for place in range(21)]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="maximum context length") as error:
            sdk.responses.create(**{**SHORT, "input": turns}, stream=stream)
        assert (error.value.code, error.value.param) == ("context_length_exceeded", "input")
    reply: Any = sdk.responses.create(**{**SHORT, "input": turns}, truncation="auto", instructions="Be short.")
    assert reply.output_text
    assert "messages were left out" in reply.warnings[0]
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        sdk.responses.create(**{**SHORT, "input": "a b c " * 600}, truncation="auto")
