"""What is refused, how it is named, and in whose words."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.jobs.models import Job
from tests.chat.conftest import ask, data_url, picture

pytestmark = pytest.mark.django_db(transaction=True)
ASYNC = {"Prefer": "respond-async"}
MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct"
Post = Callable[..., Any]


@pytest.fixture
def post(client: Client) -> Post:
    def send(body: Any = None, path: str = "/v1/chat/completions", **fields: Any) -> Any:
        sent = body if body is not None else {"model": MODEL, "messages": ask("hello"), **fields}
        return client.post(path, sent, content_type="application/json", headers=ASYNC)

    return send


def refusal(reply: Any, status: int = 400) -> dict[str, Any]:
    assert reply.status_code == status, reply.content
    assert reply["Content-Type"] == "application/json"
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert not Job.objects.exists()
    return reply.json()["error"]  # type: ignore[no-any-return]


def test_a_good_request_is_taken(post: Post) -> None:
    reply = post()
    assert reply.status_code == 202
    assert Job.objects.get().params["messages"][0]["parts"][0]["text"] == "hello"


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object", "properties": {}}}}


UNIQUE = {"name": "f", "strict": True, "parameters": {"properties": {"a": {"type": "array", "uniqueItems": True}}}}
STRICT = {"type": "function", "function": UNIQUE}
ENDLESS = {
    "$ref": "#/$defs/x",
    "$defs": {"x": {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/x"}}}},
}


def calling(identifier: str) -> dict[str, Any]:
    call = {"id": identifier, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": []}, "messages", "at least one"),
        ({"messages": "hello"}, "messages", "list"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "'wizard'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "text"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type", "image_url"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, "messages[0].content", "NUL"),
        ({"messages": [{"role": "user", "content": "x", "nmae": "Al"}]}, "messages[0].nmae", "'name'"),
        ({"messages": [{"role": "user", "content": "x", "name": 5}]}, "messages[0].name", "text"),
        (
            {"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]},
            "messages[0].tool_calls[0]",
            "object with an id",
        ),
        ({"temperature": -1}, "temperature", "0"),
        ({"temperature": 2.5}, "temperature", "2"),
        ({"temperature": "NaN"}, "temperature", "number"),
        ({"top_p": 1.5}, "top_p", "1"),
        ({"n": 10_000}, "n", "8"),
        ({"n": 0}, "n", "1"),
        ({"max_tokens": 0}, "max_tokens", "1"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "max_completion_tokens"),
        ({"presence_penalty": 3}, "presence_penalty", "2"),
        ({"seed": 10**400}, "seed", "9223372036854775807"),
        ({"stop": ["a"] * 5}, "stop", "4"),
        ({"stop": ""}, "stop", "1 to 200"),
        ({"top_logprobs": 5}, "top_logprobs", "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "20"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage", "include_usage"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "xml"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "json_schema"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "web_search"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "letters"),
        ({"tools": [tool("f"), tool("f")]}, "tools", "two tools"),
        ({"tools": [tool(f"f{number}") for number in range(200)]}, "tools", "128"),
        ({"tools": [tool("f", {"description": "x" * 10**6})]}, "tools", "200000"),
        ({"tools": [STRICT]}, "tools[0].function.parameters", "'uniqueItems' at properties.a can't be enforced"),
        ({"tools": [tool("f", {"properties": {"a": {"pattern": "("}}})]}, "tools[0].function.parameters", "can't be followed"),
        ({"tools": [tool("f", ENDLESS)], "tool_choice": "required"}, "tools[0].function.parameters", "without an end"),
        ({"tools": [tool("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", "'g'"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tools": [tool("f")], "tool_choice": "always"}, "tool_choice", "required"),
        ({"messages": [*ask("hi"), {"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages[1].tool_call_id", "'c'"),
        ({"messages": [*ask("hi"), {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id", "names the call"),
        ({"messages": [*ask("hi"), calling("c"), calling("c")]}, "messages[2].tool_calls[0].id", "two calls"),
        ({"ignore_eos": True}, "ignore_eos", "can't be used"),
        ({"min_p": 2}, "min_p", "1"),
        ({"repetition_penalty": 0}, "repetition_penalty", "1e-07"),
        ({"temprature": 1}, "temprature", "'temperature'"),
        ({"metadata": {"k": "v" * 600}}, "metadata.k", "512"),
        ({"backend": "cuda"}, "backend", "cuda"),
        ({"model": "llava-1.5-7b", "backend": "onnx"}, "backend", "can't be run on ONNX here"),
        ({"model": "gemma-2b-it", "backend": "onnx"}, "backend", "manage.py export_onnx gemma-2b-it --precision int8"),
        ({"model": "Gemma-3n-E2B-it-ONNX/Q4_MIXED", "backend": "pytorch"}, "backend", "for ONNX only"),
        ({"backend": "remote"}, "backend", "CHAT_REMOTE_URL"),
        ({"conversation": "0197c0de-0000-7000-8000-000000000000"}, "conversation", "no conversation"),
        ({"model": "starter"}, "model", "text-to-image"),
    ],
)
def test_a_wrong_field_is_named(post: Post, fields: dict[str, Any], param: str, words: str) -> None:
    error = refusal(post(**fields))
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "http://example.com/schema"}}},
        {"type": "string", "pattern": "("},
        {"type": "object", "properties": {"a": {"type": "string", "description": "x" * 10**6}}},
    ],
    ids=lambda schema: json.dumps(schema)[:40],
)
def test_a_schema_that_can_not_be_followed_is_refused_before_anything_is_done(post: Post, schema: dict[str, Any]) -> None:
    error = refusal(post(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}))
    assert error["param"] == "response_format.json_schema.schema"
    assert error["code"] in ("invalid_schema", "too_long")


UNENFORCED: Any = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?!b)"}}, "not": {"const": {}}}


def test_a_strict_schema_that_can_be_followed_in_part_is_refused_and_another_told(post: Post) -> None:
    def asked(**beside: Any) -> Any:
        return post(
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": UNENFORCED, **beside}}, max_tokens=1
        )

    assert "'not' can't be enforced here" in refusal(asked(strict=True))["message"]
    for answer in (
        asked(),
        asked(strict=False),
        post(response_format={"type": "json_object", "schema": UNENFORCED}, max_tokens=1),
    ):
        assert (answer.status_code, answer.json()["warnings"]) == (
            202,
            [
                f"The answer's schema: '{path}' has no effect, since it can't be enforced here."
                for path in ("not", "properties.a.pattern")
            ],
        )


def test_an_unknown_model_is_a_404_in_openais_envelope(post: Post) -> None:
    error = refusal(post(model="gpt-99"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_without_a_usable_default_model_it_says_how_to_get_one(post: Post, settings: Any) -> None:
    settings.DEFAULT_CHAT_MODEL = "no-such-model"
    error = refusal(post({"messages": ask("hello")}), 404)
    assert "preload_models --models" in error["message"]
    assert "DEFAULT_CHAT_MODEL" in error["message"]


def test_where_there_is_a_remote_server_its_model_is_what_to_set(post: Post, settings: Any) -> None:
    settings.DEFAULT_CHAT_MODEL, settings.CHAT_REMOTE_URL, settings.CHAT_REMOTE_MODELS = (
        "no-such-model",
        "http://far/v1",
        ["far"],
    )
    assert "DEFAULT_CHAT_MODEL=far" in refusal(post({"messages": ask("hello")}), 404)["message"]


def test_a_model_that_reads_text_only_says_so(post: Post, media: None) -> None:
    error = refusal(post(model="phi-2", messages=ask("What?", data_url(picture()))))
    assert error["code"] == "blind_model"


@pytest.mark.parametrize("role", ["system", "assistant", "developer"])
def test_only_a_user_shows_pictures(post: Post, media: None, role: str) -> None:
    message = {**ask("What?", data_url(picture()))[0], "role": role}
    assert refusal(post(messages=[message]))["param"] == "messages[0].content[0]"


def test_21_pictures_are_too_many(post: Post) -> None:
    error = refusal(post(messages=ask("What?", *["data:image/png;base64,AAAA"] * 21)))
    assert "21" in error["message"]
    assert "20" in error["message"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("data:text/plain;base64,aGVsbG8=", "data:image/png"),
        ("data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=", "data:image/png"),
        ("data:image/png;base64,aGVsbG8=", "not a PNG"),
        ("data:image/png;base64,!!!", "base64"),
        ("https://example.com/cat.png", "ALLOW_IMAGE_URLS"),
        ("http://127.0.0.1/cat.png", "ALLOW_IMAGE_URLS"),
        ("file:///etc/passwd", "data URL"),
        ("darkroom://images/0197c0de-0000-7000-8000-000000000000", "no image"),
        ("darkroom://images/../secret", "base64"),
        ("", "data URL"),
        (None, "data URL"),
    ],
)
def test_a_picture_that_is_none_is_named(post: Post, media: None, url: str | None, words: str) -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    error = refusal(post(messages=[message]))
    assert error["param"] == "messages[0].content[0].image_url.url"
    assert words in error["message"]


def test_too_many_characters_are_told_as_openai_tells_of_too_many_tokens(post: Post) -> None:
    """LiteLLM and LangChain look for the words and the code."""
    error = refusal(post(model="starter-vlm", messages=ask("x" * 400_001)))
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "This model's maximum context length is 2048 tokens." in error["message"]


def test_an_allowed_url_that_leads_inside_is_refused_still(post: Post, settings: Any, media: None) -> None:
    settings.ALLOW_IMAGE_URLS = True
    error = refusal(post(messages=ask("What?", "http://127.0.0.1:9/cat.png")))
    assert "not allowed" in error["message"]


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "null", "[1]"])
def test_a_body_that_is_no_object_is_a_400(client: Client, body: str) -> None:
    reply = client.post("/v1/chat/completions", body, content_type="application/json")
    assert refusal(reply)["type"] == "invalid_request_error"


def test_a_form_is_a_415(client: Client) -> None:
    assert refusal(client.post("/v1/chat/completions", {"messages": "x"}), 415)


def test_half_a_surrogate_pair_is_refused(client: Client) -> None:
    body = json.dumps({"model": MODEL, "messages": ask("\ud800")})
    assert refusal(client.post("/v1/chat/completions", body, content_type="application/json"))["param"] == "messages[0].content"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/models/nothing/at/all", "/chat-server/x"])
def test_what_is_not_there_is_told_in_the_envelope(client: Client, path: str) -> None:
    assert client.get(path).json()["error"]["type"] == "invalid_request_error"


def test_another_method_is_a_405_in_the_envelope(client: Client) -> None:
    assert refusal(client.get("/v1/chat/completions"), 405)


def test_a_stranger_is_told_in_the_envelope_to_bring_a_key() -> None:
    reply = Client(REMOTE_ADDR="203.0.113.9").post("/v1/chat/completions", "{}", content_type="application/json")
    assert refusal(reply, 401)["type"] == "authentication_error"


def test_the_older_servers_torch_path_refuses_another_backend(post: Post) -> None:
    body = {"model": MODEL, "messages": ask("hello"), "backend": "remote"}
    assert refusal(post(body, "/chat-server/v1/chat/completions/torch"))["code"] == "unfit_backend"


def test_an_echoed_answer_with_empty_fields_is_taken_back(post: Post) -> None:
    echoed = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": None, "annotations": [], "audio": None}
    assert post(messages=[*ask("hello"), echoed, *ask("and?")]).status_code == 202


@pytest.mark.parametrize("depth", [200, 900, 5_000, 100_000])
def test_however_deep_a_schema_is_nested_it_is_no_500(client: Client, depth: int) -> None:
    schema = '{"type":"array","items":' * depth + '{"type":"null"}' + "}" * depth
    format = f'{{"type":"json_schema","json_schema":{{"name":"x","schema":{schema}}}}}'
    body = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}],"response_format":{format}}}'
    reply = client.post("/v1/chat/completions", body, content_type="application/json", headers=ASYNC)
    assert reply.status_code in (202, 400), reply.content[:300]


def test_a_schema_with_an_infinite_number_is_refused(client: Client) -> None:
    format = '{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"number","maximum":1e999}}}'
    body = f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}],"response_format":{format}}}'
    reply = client.post("/v1/chat/completions", body, content_type="application/json", headers=ASYNC)
    error = refusal(reply)
    assert (error["code"], error["param"]) == ("too_large", "response_format.json_schema.schema.maximum")
