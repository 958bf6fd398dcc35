"""JSON that can't be stored or answered is a 400 in the form of the address's own server, at every address that reads JSON."""

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from api.dialects.a1111.errors import PREFIXES as A1111_PREFIXES
from api.dialects.huggingface.errors import PREFIX as HUGGING_FACE
from api.dialects.openai.errors import PREFIXES
from api.json_text import DEEPEST, InvalidJson, read_json
from api.strict import JsonParser
from tests.api.addresses import json_endpoints, view_of
from tests.walks import check_each

pytestmark = pytest.mark.django_db
ENDPOINTS = [
    (method, address) for method, address in json_endpoints() if address != "/hf/x"
]  # a task that isn't there: no body is read
LONE = "\\ud800"  # half of a surrogate pair, as JSON writes it


def nested(levels: int) -> str:
    return '{"prompt": ' + "[" * levels + "]" * levels + "}"


def send(client: Client, method: str, address: str, body: str | bytes) -> HttpResponse:
    client.raise_request_exception = False
    return getattr(client, method)(address, body, content_type="application/json")  # type: ignore[no-any-return]


def told(reply: HttpResponse, address: str) -> tuple[str, str]:
    """The field that is named, and the sentence, of a 400 in the server's own form (422 where that server says it so)."""
    assert reply.status_code == 400 or (reply.status_code == 422 and address.startswith(A1111_PREFIXES)), reply.content[:500]
    body = json.loads(reply.content)
    if address.startswith(A1111_PREFIXES):
        assert body.keys() == {"error", "detail", "body", "errors"}
        return body["errors"].partition(":")[0], body["errors"]
    if address.startswith(HUGGING_FACE):
        assert body.keys() == {"error", "error_type"}
        return "", body["error"]
    if address.startswith(PREFIXES):
        assert body.keys() == {"error"}
        assert reply["Content-Type"] == "application/json"
        return body["error"]["param"] or "", body["error"]["message"]
    if address.startswith("/api/"):
        assert reply["Content-Type"] == "application/problem+json"
        return (body["errors"] or [{"field": ""}])[0]["field"], body["detail"]
    assert body.keys() == {"detail"}
    return "", body["detail"]


BAD = {
    "a lone surrogate in a key": (f'{{"prompt": "x", "{LONE}": 1}}', "surrogate"),
    "a lone surrogate in a nested key": (f'{{"prompt": {{"a": [{{"{LONE}": 1}}]}}}}', "surrogate"),
    "a lone surrogate in a value": (f'{{"prompt": "x{LONE}"}}', "surrogate"),
    "a NUL in a key": ('{"a\\u0000": 1}', "NUL"),
    "a NUL in a value": ('{"prompt": ["a\\u0000"]}', "NUL"),
    "101 levels": (nested(DEEPEST), "too deeply"),
    "1,000 levels": (nested(1000), "too deeply"),
    "100,000 levels": (nested(100_000), "too deeply"),
    "100,000 levels of objects": ('{"a":' * 100_000 + "1" + "}" * 100_000, "too deeply"),
    "NaN": ('{"prompt": NaN}', "NaN is not JSON"),
    "Infinity": ('{"prompt": Infinity}', "Infinity is not JSON"),
    "-Infinity": ('{"prompt": [-Infinity]}', "-Infinity is not JSON"),
    "1e999": ('{"prompt": {"x": 1e999}}', "too large"),
    "5,000 digits": (f'{{"seed": {"9" * 5000}}}', "too large"),
    "a key that is given twice": ('{"prompt": "a", "prompt": "b"}', "'prompt' is given more than once"),
    "a nested key that is given twice": ('{"prompt": [{"weight": 1, "weight": 2}]}', "'weight' is given more than once"),
    "what is no UTF-8": (b'{"prompt": "\xff"}', "not UTF-8"),
    "what is no JSON": ("{prompt: 1}", "not JSON"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_body_that_cannot_be_taken_is_refused_in_the_servers_own_form(client: Client, what: str) -> None:
    body, words = BAD[what]

    def check(method: str, address: str) -> None:
        assert words in told(send(client, method, address, body), address)[1]

    check_each(ENDPOINTS, check)


@pytest.mark.parametrize(
    ("body", "field"), [('{"prompt": "a", "hires": {"scale": NaN}}', "hires.scale"), ('{"loras": [1, -Infinity]}', "loras.1")]
)
def test_the_place_of_what_is_no_json_is_named(client: Client, body: str, field: str) -> None:
    reply = client.post("/api/txt2img/", body, content_type="application/json")
    [error] = reply.json()["errors"]
    assert (reply.status_code, error["field"], error["code"]) == (400, field, "not_json")


FIELDS = (
    "prompt",
    "rank_by",
    "output_format",
    "scheduler",
    "model_id",
    "model",
    "backend",
    "response_format",
    "image",
    "name",
    "on",
)


@pytest.mark.parametrize("field", FIELDS)
def test_a_lone_surrogate_is_refused_in_every_field(client: Client, field: str) -> None:
    def check(method: str, address: str) -> None:
        named, sentence = told(send(client, method, address, f'{{"{field}": "{LONE}"}}'), address)
        assert field in (named, sentence.partition(":")[0])

    check_each(ENDPOINTS, check)


@pytest.mark.parametrize("body", ["[]", "1", "null", '"x"', "true", "[[[]]]", "\ufeff[]"])
def test_what_is_no_object_is_refused(client: Client, body: str) -> None:
    def check(method: str, address: str) -> None:
        told(send(client, method, address, body), address)

    check_each(ENDPOINTS, check)


def test_a_byte_order_mark_is_passed_over(client: Client) -> None:
    reply = send(client, "post", "/api/txt2img/", "\ufeff{}".encode())
    assert told(reply, "/api/txt2img/") == ("prompt", "prompt: This field is required.")


@pytest.mark.parametrize("charset", ["utf-16", "rot13", "base64", "latin-1", "undefined", "no-such"])
def test_a_charset_in_the_content_type_changes_nothing(client: Client, charset: str) -> None:
    client.raise_request_exception = False
    reply = client.generic("POST", "/api/txt2img/", b"{}", content_type=f"application/json; charset={charset}")
    assert told(reply, "/api/txt2img/")[0] == "prompt"


@pytest.mark.parametrize("charset", ["idna", "raw_unicode_escape", "utf-7", "utf-16", "undefined"])
@pytest.mark.parametrize("address", ["/api/txt2img/", "/api/score/", "/generate", "/score"])
def test_a_forms_charset_changes_nothing_either(client: Client, address: str, charset: str) -> None:
    client.raise_request_exception = False
    form = b'--x\r\nContent-Disposition: form-data; name="seed"\r\n\r\n\\ud800+2AA-\r\n--x--\r\n'
    reply = client.generic("POST", address, form, content_type=f"multipart/form-data; boundary=x; charset={charset}")
    told(reply, address)


def reads_json(parser: Any) -> bool:
    return "json" in parser.media_type or parser.media_type == "*/*"


def test_no_view_brings_a_json_parser_of_its_own() -> None:
    def check(method: str, address: str) -> None:
        parsers = [parser for parser in view_of(address).cls.parser_classes if reads_json(parser)]
        assert parsers
        assert all(issubclass(parser, JsonParser) for parser in parsers)

    check_each(ENDPOINTS, check)


# ---------------------------------------------------------------- the reader itself


@pytest.mark.parametrize(
    "text", ['{"a": [1, -2.5, 1e300, null, true, "\\ud83d\\ude00", "é", ""]}', "[" * DEEPEST + "]" * DEEPEST, "1", '{"": 1}']
)
def test_what_is_json_is_read_as_python_reads_it(text: str) -> None:
    assert read_json(text) == read_json(text.encode()) == json.loads(text)


def test_the_path_to_what_is_wrong_is_told() -> None:
    with pytest.raises(InvalidJson) as caught:
        read_json('{"loras": [{}, {"id": "\\udfff"}]}')
    assert caught.value.field == "loras.1.id"


def test_a_million_unknown_fields_are_answered_with_the_first(client: Client) -> None:
    body = json.dumps({f"field{number}": 1 for number in range(200_000)})
    reply = send(client, "post", "/api/txt2img/", body)
    assert [error["field"] for error in reply.json()["errors"]] == [f"field{number}" for number in range(20)]


def test_a_name_of_a_million_characters_is_not_sent_back(client: Client) -> None:
    reply = send(client, "post", "/api/txt2img/", json.dumps({"a" * 1_000_000: 1}))
    assert reply.json()["errors"][0]["field"] == "a" * 100
