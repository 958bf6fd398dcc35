"""What current clients of OpenAI's API send besides, where it asks for nothing: taken, and no part of the job (CLIENTS.md)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.chat.neutral_fields import ANY_VALUE, NEUTRAL_VALUES
from api.jobs.kinds import get_kind, read_spec
from api.jobs.models import Job
from tests.chat.conftest import ask, data_url, picture
from tests.walks import check_each

pytestmark = pytest.mark.django_db(transaction=True)
Post = Callable[..., dict[str, Any]]


@pytest.fixture
def taken(client: Client) -> Post:
    """The parameters of the job that a request becomes."""

    def send(**fields: Any) -> dict[str, Any]:
        body = {"model": "starter-vlm", "messages": ask("hello"), "seed": 1, **fields}
        reply = client.post("/v1/chat/completions", body, content_type="application/json", headers={"Prefer": "respond-async"})
        assert reply.status_code == 202, reply.content
        return Job.objects.get(pk=reply.json()["id"]).params

    return send


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": None},
        {"tool_choice": "none"},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"logit_bias": {}},
        {"logit_bias": None},
        {"store": False},
        {"service_tier": "auto"},
        {"modalities": ["text"]},
        {"reasoning_effort": None},
        {"reasoning_effort": "medium"},
        {"top_logprobs": 0, "logprobs": False},
        {"min_p": 0},
        {"top_k": 0},
        {"top_k": -1},
        {"repetition_penalty": 1.0},
        {"ignore_eos": False},
        {"skip_special_tokens": True},
        {"stream_options": None},
        {"stream": False, "stream_options": {"include_usage": False}},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"a_field_of_tomorrow": None},
        {"messages": [{"role": "user", "content": "hello", "cache_control": {"type": "ephemeral"}}]},
    ],
    ids=json.dumps,
)
def test_what_asks_for_nothing_changes_nothing(taken: Post, fields: dict[str, Any]) -> None:
    assert taken(**fields) | {"logprobs": 0, "top_logprobs": 0} == taken() | {"logprobs": 0, "top_logprobs": 0}


@pytest.mark.parametrize("name", NEUTRAL_VALUES)
def test_each_field_that_is_known_to_ask_for_nothing_is_taken(taken: Post, name: str) -> None:
    plain = taken()

    def check(value: Any) -> None:
        assert taken(**{name: value}) == plain

    check_each([(value,) for value in (None, [], {}, *NEUTRAL_VALUES[name]) if value is not ANY_VALUE], check)


def test_a_message_may_say_more_than_we_read(taken: Post, media: None) -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    image = {"type": "image_url", "image_url": {"url": data_url(picture())}, **cached}
    messages = [
        {"role": "user", "name": "Al", "content": [{"type": "text", "text": "What?", **cached}, image]},
        {"role": "assistant", "content": None, "tool_calls": None, "refusal": None},
        {"role": "user", "content": "And now?"},
    ]
    told = taken(messages=messages)["messages"]
    assert [[part["type"] for part in turn["parts"]] for turn in told] == [["text", "image"], ["text"], ["text"]]


def test_calls_and_what_tools_answered_are_kept_and_can_be_sent_again(taken: Post) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    messages = [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
    ]
    told = taken(messages=messages)["messages"]
    assert [turn["parts"] for turn in told[1:]] == [
        [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": '{"city": "Bern"}'}],
        [{"type": "tool_result", "id": "c1", "name": "weather"}, {"type": "text", "text": "18 degrees"}],
    ]
    [job] = Job.objects.all()
    assert get_kind("chat").render_params(read_spec(job))["messages"][1:] == messages[1:]


def test_what_is_worth_honouring_is_honoured(taken: Post) -> None:
    params = taken(min_p=0.1, repetition_penalty=1.2, top_k=5, logit_bias={"7": -100})
    assert {name: params[name] for name in ("min_p", "repetition_penalty", "top_k", "logit_bias")} == {
        "logit_bias": {"7": -100.0},
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "top_k": 5,
    }


@pytest.mark.parametrize("model", ["dummy", None])
def test_a_client_that_was_given_no_model_gets_the_default(taken: Post, model: str | None) -> None:
    assert taken(model=model)["model"] == "starter-vlm"


def test_json_without_a_content_type_is_read_as_json(client: Client) -> None:
    body = json.dumps({"messages": ask("hello")})
    reply = client.generic("POST", "/v1/chat/completions", body, content_type="", headers={"Prefer": "respond-async"})
    assert reply.status_code == 202, reply.content


def test_without_a_content_type_what_is_no_json_is_a_400(client: Client) -> None:
    reply = client.generic("POST", "/v1/chat/completions", "model=x", content_type="")
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_pictures_of_one_request_may_be_looked_at_differently(taken: Post, media: None) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": data_url(picture(color)), "detail": detail}}
        for color, detail in (("red", "low"), ("blue", "high"))
    ]
    [turn] = taken(messages=[{"role": "user", "content": parts}])["messages"]
    assert [part["detail"] for part in turn["parts"]] == ["low", "high"]


def test_what_other_models_said_and_thought_goes_on_here(client: Client) -> None:
    """A refusal is what the assistant said; what it thought is told to be left out."""
    no = {"type": "refusal", "refusal": "No."}
    messages = [
        *ask("hello"),
        {"role": "assistant", "content": None, "refusal": "No."},
        *ask("Why?"),
        {"role": "assistant", "content": [no], "reasoning_content": "They ask why.", "reasoning": None},
        *ask("So?"),
    ]
    body = {"model": "starter-vlm", "messages": messages}
    reply = client.post("/v1/chat/completions", body, content_type="application/json", headers={"Prefer": "respond-async"})
    [job] = Job.objects.all()
    assert [turn["parts"][0]["text"] for turn in job.params["messages"]] == ["hello", "No.", "Why?", "No.", "So?"]
    assert reply.json()["warnings"] == ["messages.3.reasoning_content: What was thought before is not shown to this model."]


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"schema": {"const": "42"}}},
        {"type": "json_object", "schema": {"const": "42"}},
        {"type": "json_object", "value": {"const": "42"}},
    ],
    ids=["without a name", "schema", "value"],
)
def test_a_schema_is_read_in_every_form_that_servers_take(taken: Post, form: dict[str, Any]) -> None:
    assert taken(response_format=form)["response_format"]["json_schema"] == {"name": "answer", "schema": {"const": "42"}}


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63) + 1])
def test_a_seed_has_64_bits(taken: Post, seed: int) -> None:
    assert taken(seed=seed)["seed"] == seed
