"""OpenAI's current SDK, unchanged, against a running server: sync and async, streams, pictures, schemas, its exceptions."""

import asyncio
import json
import time
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.chat.conftest import ask, data_url, picture
from tests.live import LiveServer

pytestmark = pytest.mark.models
SHORT: Any = {"model": "tiny-llama", "messages": ask("What is in this image?"), "temperature": 0, "max_tokens": 12}


class Item(BaseModel):
    name: str
    count: int


def test_an_answer_has_text_usage_and_says_which_backend_and_model_wrote_it(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(**SHORT)
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content
    assert (reply.choices[0].finish_reason, reply.usage.completion_tokens) == ("length", 12)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 12
    assert (reply.model, reply.backend) == ("tiny-llama", "pytorch")


def test_a_stream_is_openais_to_the_letter(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(**SHORT).choices[0].message.content
    chunks = list(sdk.chat.completions.create(**SHORT, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 12)
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done(server: LiveServer) -> None:
    reply = server.client.post("/v1/chat/completions", json={**SHORT, "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in reply.text


def test_the_model_may_be_left_out(sdk: openai.OpenAI, server: LiveServer) -> None:
    reply = server.client.post("/v1/chat/completions", json={"messages": ask("hello"), "max_tokens": 2})
    assert (reply.status_code, reply.json()["model"]) == (200, "tiny/vlm")


def test_pictures_are_seen_by_data_url_and_by_id(sdk: openai.OpenAI, server: LiveServer) -> None:
    options: Any = {"model": "tiny/vlm", "temperature": 0, "max_tokens": 8}
    red, blue = data_url(picture("red")), data_url(picture("blue"), "JPEG")
    first = sdk.chat.completions.create(**options, messages=ask("What?", red))
    other = sdk.chat.completions.create(**options, messages=ask("What?", blue))
    kept = server.client.get(f"/api/conversations/{first.conversation}/").json()["messages"][0]["parts"][0]["image"]
    by_id = sdk.chat.completions.create(**options, messages=ask("What?", f"darkroom://images/{kept}"))
    assert first.choices[0].message.content == by_id.choices[0].message.content
    assert first.choices[0].message.content != other.choices[0].message.content


def test_several_pictures_count_all(sdk: openai.OpenAI) -> None:
    one = sdk.chat.completions.create(model="tiny/vlm", max_tokens=1, messages=ask("What?", data_url(picture())))
    two = sdk.chat.completions.create(model="tiny/vlm", max_tokens=1, messages=ask("What?", *[data_url(picture())] * 2))
    assert two.usage.prompt_tokens - one.usage.prompt_tokens >= 4


def test_detail_says_how_closely_a_picture_is_looked_at(sdk: openai.OpenAI) -> None:
    tokens = {
        detail: sdk.chat.completions.create(
            model="tiny/vlm", max_tokens=1, messages=ask("What?", data_url(picture(size=(128, 96))), detail=detail)
        ).usage.prompt_tokens
        for detail in ("low", "auto", "high")
    }
    assert tokens["low"] == tokens["auto"] < tokens["high"] / 2


@pytest.mark.parametrize("model", ["tiny-llama", "tiny/vlm"])
def test_a_schema_is_kept_to_and_parsed(sdk: openai.OpenAI, model: str) -> None:
    options: Any = {"model": model, "messages": ask("Name an item."), "response_format": Item, "max_tokens": 400}
    for seed in range(3):
        reply = sdk.chat.completions.parse(**options, seed=seed, temperature=0.2)
        assert isinstance(reply.choices[0].message.parsed, Item)


def test_json_object_gives_an_object(sdk: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    reply = sdk.chat.completions.create(
        **SHORT, response_format={"type": "json_schema", "json_schema": {"name": "empty", "schema": schema}}
    )
    assert json.loads(reply.choices[0].message.content) == {}
    begun = sdk.chat.completions.create(**SHORT, response_format={"type": "json_object"}).choices[0].message.content
    assert begun.startswith("{")


def test_n_answers_come_each_with_its_own_draws_and_a_seed_repeats_them(sdk: openai.OpenAI) -> None:
    options: Any = {**SHORT, "temperature": 1.0, "n": 3, "seed": 5}
    first, again = (sdk.chat.completions.create(**options) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert len(set(texts)) == 3
    assert texts == [choice.message.content for choice in again.choices]
    assert first.usage.completion_tokens == 36


def test_a_stream_of_n_answers_tells_them_apart(sdk: openai.OpenAI) -> None:
    options: Any = {**SHORT, "temperature": 1.0, "n": 2, "seed": 5}
    whole = [choice.message.content for choice in sdk.chat.completions.create(**options).choices]
    texts = {0: "", 1: ""}
    for chunk in sdk.chat.completions.create(**options, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert [texts[0], texts[1]] == whole


def test_a_stop_string_ends_the_answer_and_is_not_in_it(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(**SHORT).choices[0].message.content
    stop = whole[len(whole) // 2 :][:3]
    reply = sdk.chat.completions.create(**SHORT, stop=stop).choices[0]
    assert (reply.finish_reason, reply.message.content) == ("stop", whole[: whole.find(stop)])


def test_logprobs_come_for_every_token(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(**SHORT, logprobs=True, top_logprobs=2)
    tables = reply.choices[0].logprobs.content
    assert len(tables) == 12
    assert all(table.top_logprobs[0].logprob >= table.top_logprobs[1].logprob for table in tables)
    assert all(table.logprob == table.top_logprobs[0].logprob for table in tables)  # temperature 0


def test_streamed_logprobs_are_the_same(sdk: openai.OpenAI) -> None:
    options: Any = {**SHORT, "logprobs": True, "top_logprobs": 1}
    whole = sdk.chat.completions.create(**options).choices[0].logprobs.content
    chunks = sdk.chat.completions.create(**options, stream=True)
    told = [table for chunk in chunks for choice in chunk.choices if choice.logprobs for table in choice.logprobs.content]
    assert [table.token for table in told] == [table.token for table in whole]


async def test_the_async_client_streams_many_at_once(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:

        async def read() -> str:
            stream = await client.chat.completions.create(**SHORT, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        alone = await read()
        assert await asyncio.gather(*[read() for _ in range(6)]) == [alone] * 6


def test_models_are_listed_and_found(sdk: openai.OpenAI) -> None:
    assert {"tiny/vlm", "tiny-llama", "HuggingFaceTB/SmolVLM-256M-Instruct"} <= {model.id for model in sdk.models.list()}
    assert sdk.models.retrieve("tiny/vlm").owned_by == "darkroom"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("gpt-99")


def test_errors_are_the_sdks_exceptions(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        sdk.chat.completions.create(model="gpt-99", messages=ask("hello"))
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.chat.completions.create(**{**SHORT, "temperature": -1})
    assert (wrong.value.param, wrong.value.type) == ("temperature", "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
def test_more_tokens_than_the_context_are_a_400_with_both_numbers(sdk: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match=r"1024 tokens.*needs \d{4,}") as error:
        sdk.chat.completions.create(model="tiny-llama", messages=ask("a b c " * 600), stream=stream)
    assert error.value.code == "context_length_exceeded"


def test_special_tokens_are_text(sdk: openai.OpenAI) -> None:
    text = "What is <image> and <end_of_utterance> and <row_1_col_1>?"
    plain = sdk.chat.completions.create(model="tiny/vlm", max_tokens=1, messages=ask("What is and and ?"))
    reply = sdk.chat.completions.create(model="tiny/vlm", max_tokens=1, messages=ask(text))
    assert reply.usage.prompt_tokens > plain.usage.prompt_tokens + 20


def test_a_client_that_times_out_takes_its_job_with_it(server: LiveServer) -> None:
    impatient = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0, timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(model="tiny-llama", messages=ask("hello"), max_tokens=900, n=8)
    server.wait_until(lambda: newest(server)["status"] == "cancelled", "the job is cancelled", seconds=30)


def test_a_client_that_leaves_a_stream_takes_its_job_with_it(sdk: openai.OpenAI, server: LiveServer) -> None:
    def leave() -> float:
        stream = sdk.chat.completions.create(model="tiny-llama", messages=ask("hello"), max_tokens=900, n=8, stream=True)
        next(iter(stream))
        stream.close()
        left = time.monotonic()
        server.wait_until(lambda: newest(server)["status"] == "cancelled", "the job is cancelled", seconds=30)
        return time.monotonic() - left

    assert any(leave() < 2 for _ in range(4))  # as others leave it the processor


@pytest.mark.parametrize(
    "header", [{"Idempotency-Key": "leave-me-be"}, {"Idempotency-Key": "leave-me-too", "Prefer": "wait=300"}]
)
def test_a_client_that_asked_to_keep_it_may_leave(sdk: openai.OpenAI, server: LiveServer, header: dict[str, str]) -> None:
    stream = sdk.chat.completions.create(
        model="tiny-llama", messages=ask("hello"), max_tokens=200, stream=True, extra_headers=header
    )
    next(iter(stream))
    stream.close()
    server.wait_until(lambda: newest(server)["status"] == "succeeded", "the job is done", seconds=30)


def test_a_stream_of_a_job_whose_events_are_gone_is_told_from_its_result(sdk: openai.OpenAI, server: LiveServer) -> None:
    header = {"Idempotency-Key": "told-twice"}
    first = "".join(told(sdk.chat.completions.create(**SHORT, stream=True, extra_headers=header)))
    server.manage("shell", "-c", "from api.jobs.models import JobEvent; JobEvent.objects.all().delete()")
    assert "".join(told(sdk.chat.completions.create(**SHORT, stream=True, extra_headers=header))) == first


def told(chunks: Any) -> list[str]:
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def test_respond_async_gives_the_job_at_once(server: LiveServer) -> None:
    reply = server.client.post("/v1/chat/completions", json=SHORT, headers={"Prefer": "respond-async"})
    assert (reply.status_code, reply.headers["Preference-Applied"]) == (202, "respond-async")
    job = reply.json()["id"]
    server.wait_until(lambda: server.client.get(f"/api/jobs/{job}/").json()["status"] == "succeeded", "the job is done")
    assert server.client.get(f"/api/jobs/{job}/").json()["result"]["choices"][0]["text"]


def test_the_older_servers_paths_answer_too(server: LiveServer) -> None:
    for path in ("/chat-server/v1/chat/completions", "/chat-server/v1/chat/completions/torch"):
        reply = server.client.post(path, json=SHORT)
        assert (reply.status_code, reply.json()["backend"]) == (200, "pytorch")


def newest(server: LiveServer) -> dict[str, Any]:
    return server.client.get("/api/jobs/?kind=chat&limit=1").json()["results"][0]


def test_an_answer_that_is_there_is_given_also_to_a_client_that_would_not_have_waited(server: LiveServer) -> None:
    headers = {"Prefer": "respond-async", "Idempotency-Key": "asked-twice"}

    def ask_for(**more: Any) -> Any:
        return server.client.post("/v1/chat/completions", json={**SHORT, "seed": 5, **more}, headers=headers)

    first = ask_for()
    assert (first.status_code, first.headers["Preference-Applied"]) == (202, "respond-async")
    server.wait_until(lambda: server.client.get(first.headers["Location"]).json()["status"] == "succeeded", "it is answered")
    second, stream = ask_for(), ask_for(stream=True)
    assert (second.status_code, second.json()["object"]) == (200, "chat.completion")
    assert second.json()["job"] == first.json()["id"]
    assert "Preference-Applied" not in second.headers
    assert (stream.status_code, stream.text.endswith("data: [DONE]\n\n")) == (200, True)


def test_a_text_beyond_the_context_is_told_in_the_words_that_clients_look_for(sdk: openai.OpenAI) -> None:
    with pytest.raises(
        openai.BadRequestError, match=r"This model's maximum context length is 1024 tokens.*The prompt is too long"
    ) as error:
        sdk.chat.completions.create(**{**SHORT, "messages": ask("far too long " * 2000)})
    assert error.value.code == "context_length_exceeded"
