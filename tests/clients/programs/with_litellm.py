"""LiteLLM's chats: whole, streamed, awaited, with tools, as a class, with a picture, and its exceptions."""

import json
from typing import Any

import litellm
import pytest
from shared import ASKED, REAL, SCRIPTED, Sight

SHORT: Any = {"model": f"openai/{REAL}", "messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 20}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


async def test_an_answer_is_the_same_whole_streamed_and_awaited() -> None:
    whole = litellm.completion(**SHORT)
    chunks = list(litellm.completion(**SHORT, stream=True, stream_options={"include_usage": True}))
    built = litellm.stream_chunk_builder(chunks)
    texts = [reply.choices[0].message.content for reply in (built, await litellm.acompletion(**SHORT))]
    later = await litellm.acompletion(**SHORT, stream=True)
    texts.append("".join([chunk.choices[0].delta.content or "" async for chunk in later]))
    assert texts == [whole.choices[0].message.content] * 3
    assert built.usage.completion_tokens == whole.usage.completion_tokens


def test_a_picture_is_answered_as_a_class() -> None:
    asked = {**SHORT, "messages": [{"role": "user", "content": ASKED}], "max_tokens": 200, "response_format": Sight}
    assert Sight.model_validate_json(litellm.completion(**asked).choices[0].message.content)


def test_a_dialogue_with_a_tool() -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in 'Bern'?"}]
    answer = (
        litellm.completion(model=f"openai/{SCRIPTED}", messages=messages, tools=TOOLS, tool_choice="auto").choices[0].message
    )
    [call] = answer.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Bern"}
    messages += [answer, {"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": "19 degrees"}]
    assert litellm.completion(model=f"openai/{SCRIPTED}", messages=messages, tools=TOOLS).choices[0].message.content == (
        "It said: 19 degrees"
    )


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"model": "openai/gpt-99"}, litellm.NotFoundError),
        ({"temperature": 3}, litellm.BadRequestError),
        ({"messages": [{"role": "user", "content": "far too long " * 2000}]}, litellm.ContextWindowExceededError),
    ],
)
def test_what_is_wrong_is_its_exception(wrong: Any, error: Any) -> None:
    with pytest.raises(error):
        litellm.completion(**{**SHORT, **wrong}, max_retries=0)
