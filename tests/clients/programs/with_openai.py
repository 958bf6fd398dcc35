"""OpenAI's own client, in its newest version: whole, streamed and awaited answers, parsed ones, tools, and its exceptions."""

import json
from typing import Any

import openai
import pytest
from shared import ASKED, REAL, SCRIPTED, Sight

client = openai.OpenAI(max_retries=0)
SHORT: Any = {"model": REAL, "messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 20}
WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS: Any = [{"type": "function", "function": WEATHER}]


def test_an_answer_is_the_same_whole_streamed_and_awaited_raw_or_not() -> None:
    whole = client.chat.completions.create(**SHORT).choices[0].message.content
    raw = client.chat.completions.with_raw_response.create(**SHORT).parse()
    chunks = client.chat.completions.create(**SHORT, stream=True)
    texts = ["".join(chunk.choices[0].delta.content or "" for chunk in chunks), raw.choices[0].message.content]
    with client.chat.completions.with_streaming_response.create(**SHORT) as response:
        texts.append(response.parse().choices[0].message.content)
    with client.chat.completions.stream(**SHORT) as stream:
        texts.append("".join(event.delta for event in stream if event.type == "content.delta"))
    assert texts == [whole] * 4


async def test_the_async_client_streams() -> None:
    whole = client.chat.completions.create(**SHORT).choices[0].message.content
    async with openai.AsyncOpenAI(max_retries=0) as later, later.chat.completions.stream(**SHORT) as stream:
        assert (await stream.get_final_completion()).choices[0].message.content == whole


def test_a_picture_is_answered_as_a_class() -> None:
    options: Any = {**SHORT, "messages": [{"role": "user", "content": ASKED}], "max_tokens": 200}
    assert isinstance(client.chat.completions.parse(**options, response_format=Sight).choices[0].message.parsed, Sight)
    called = client.chat.completions.parse(**options, tools=[openai.pydantic_function_tool(Sight)], tool_choice="required")
    calls = called.choices[0].message.tool_calls or []
    assert all(isinstance(call.function.parsed_arguments, Sight) for call in calls)
    assert calls
    with client.chat.completions.stream(**options, response_format=Sight) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Sight)


def test_a_dialogue_with_a_tool() -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in 'Bern'?"}]
    answer = client.chat.completions.create(model=SCRIPTED, messages=messages, tools=TOOLS).choices[0]
    [call] = answer.message.tool_calls or []
    assert (answer.finish_reason, json.loads(call.function.arguments)) == ("tool_calls", {"city": "Bern"})
    messages += [answer.message, {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "19 degrees"}]}]
    with client.chat.completions.stream(model=SCRIPTED, messages=messages, tools=TOOLS) as stream:
        assert stream.get_final_completion().choices[0].message.content == "It said: 19 degrees"


@pytest.mark.parametrize(
    ("wrong", "error", "param"),
    [
        ({"model": "gpt-99"}, openai.NotFoundError, "model"),
        ({"temperature": 3}, openai.BadRequestError, "temperature"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"n": 0}, openai.BadRequestError, "n"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}},
            openai.BadRequestError,
            "tool_choice",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_its_exception(wrong: Any, error: Any, param: str, stream: bool) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{**SHORT, **wrong}, stream=stream)
    assert caught.value.param == param
