"""huggingface_hub's InferenceClient, unchanged, against a running server."""

import json
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.chat.conftest import ask, data_url, picture
from tests.live import LiveServer

pytestmark = pytest.mark.models
SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "blue"]}},
    "required": ["color"],
    "additionalProperties": False,
}


@pytest.fixture
def hf(server: LiveServer) -> InferenceClient:
    return InferenceClient(base_url=f"{server.url}/v1", api_key="not needed", timeout=60)


def test_it_gets_an_answer(hf: InferenceClient) -> None:
    reply = hf.chat_completion(ask("hello"), model="tiny-llama", max_tokens=8, temperature=0.0, seed=1, stop=["zzz"])
    assert reply.choices[0].message.content
    assert reply.usage.completion_tokens == 8


def test_it_streams(hf: InferenceClient) -> None:
    whole = hf.chat_completion(ask("hello"), model="tiny-llama", max_tokens=8, temperature=0.0).choices[0].message.content
    chunks = hf.chat_completion(ask("hello"), model="tiny-llama", max_tokens=8, temperature=0.0, stream=True)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == whole


def test_it_shows_pictures(hf: InferenceClient) -> None:
    reply = hf.chat_completion(ask("What?", data_url(picture())), model="tiny/vlm", max_tokens=4)
    assert reply.usage.prompt_tokens > 20


def test_it_gets_json_under_a_schema(hf: InferenceClient) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    reply = hf.chat_completion(ask("Which?"), model="tiny-llama", max_tokens=60, response_format=format)
    assert json.loads(reply.choices[0].message.content)["color"] in ("red", "blue")


def test_it_has_a_tool_called(hf: InferenceClient) -> None:
    tool = {"type": "function", "function": {"name": "paint", "description": "Paint it.", "parameters": SCHEMA}}
    asked: Any = {"model": "tiny-llama", "max_tokens": 120, "tools": [tool], "tool_choice": "required"}
    call = hf.chat_completion(ask("Paint it."), **asked).choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)["color"] in ("red", "blue")) == ("paint", True)
    answer = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call.id, "content": "done"},
    ]
    assert hf.chat_completion([*ask("Paint it."), *answer], model="tiny-llama", max_tokens=4).choices[0].message.content
    chunks = hf.chat_completion(ask("Paint it."), **asked, stream=True)
    assert any(choice.delta.tool_calls for chunk in chunks for choice in chunk.choices)


def test_a_refusal_is_its_exception_with_our_words(hf: InferenceClient) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        hf.chat_completion(ask("hello"), model="gpt-99")
    assert error.value.response.status_code == 404


async def test_the_async_client_streams(server: LiveServer) -> None:
    async with AsyncInferenceClient(base_url=f"{server.url}/v1", api_key="x", timeout=60) as hf:
        stream = await hf.chat_completion(ask("hello"), model="tiny-llama", max_tokens=8, temperature=0.0, stream=True)
        assert "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
