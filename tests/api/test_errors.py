"""Errors say what to do instead, in one form for everything under /api/ and in each dialect's own."""

import io
import logging
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import resolve

from api.dialects.a1111.base import A1111View
from api.dialects.openai.base import OpenAIView
from api.problems import error_body, problem_body
from tests.api.addresses import gets, json_endpoints, view_of
from tests.api.bodies import png, text
from tests.walks import check_each

pytestmark = pytest.mark.django_db
POSTS = [address for method, address in json_endpoints() if method == "post"]


@pytest.fixture(autouse=True)
def answers_errors(client: Client) -> None:
    """As a server does, instead of raising them in the test."""
    client.raise_request_exception = False


def problem(reply: Any, status: int) -> dict[str, Any]:
    assert (reply.status_code, reply["Content-Type"]) == (status, "application/problem+json"), reply.content[:300]
    body = reply.json()
    assert body.keys() == {"type", "title", "status", "detail", "code", "errors"}
    return body  # type: ignore[no-any-return]


def detail_of(reply: Any) -> str:
    """In whichever of the servers' forms."""
    body = reply.json()
    error = body.get("error")
    return str(error["message"] if isinstance(error, dict) else body.get("detail") or error)


# ---------------------------------------------------------------- addresses


def test_an_address_without_its_slash_is_told_and_the_other_way_round(client: Client) -> None:
    def check(address: str) -> None:
        other = address.removesuffix("/") if address.endswith("/") else f"{address}/"
        reply = client.post(other, {"prompt": "x"}, content_type="application/json")
        assert reply.status_code == 404
        if resolve(address).url_name not in ("openai-model", "huggingface-model", "huggingface-chat"):
            assert detail_of(reply).endswith(f": {address}")

    check_each(sorted({*gets(), *POSTS}), check)


def test_the_missing_slash_is_named(client: Client) -> None:
    body = problem(client.post("/api/txt2img", {"prompt": "x"}, content_type="application/json"), 404)
    assert body["detail"] == "There is nothing at this address. Write it with a slash at the end: /api/txt2img/"


def test_a_model_whose_name_ends_in_a_slash_is_told_without_it(client: Client) -> None:
    """The address takes any name, with slashes in it too."""
    told = client.get("/v1/models/starter/").json()["error"]
    assert told["code"] == "model_not_found"
    assert told["message"].endswith("Write it without the slash at the end: /v1/models/starter")
    assert "slash" not in client.get("/v1/models/nothing/").json()["error"]["message"]


def test_where_a_slash_does_not_help_none_is_advised(client: Client) -> None:
    assert problem(client.get("/api/txt3img"), 404)["detail"] == "There is nothing at this address."


@pytest.mark.parametrize("address", ["/api/jobs/", "/api/docs/", "/api/health/", "/api/status/"])
def test_a_wrong_host_names_the_setting(client: Client, address: str) -> None:
    reply = client.get(address, headers={"Host": "darkroom.example"})
    if reply.status_code == 200:
        assert address == "/api/health/"  # open to everybody, under any name
        return
    detail = problem(reply, 400)["detail"]
    assert "'darkroom.example'" in detail
    assert "ALLOWED_HOSTS" in detail
    assert all(host in detail for host in django_settings.ALLOWED_HOSTS)


def test_a_wrong_host_is_one_line_in_the_log(client: Client) -> None:
    (handler,) = (one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler)
    log = io.StringIO()
    before = handler.setStream(log)
    try:
        client.get("/api/jobs/", headers={"Host": "darkroom.example"})
    finally:
        handler.setStream(before)
    assert "Invalid HTTP_HOST header: 'darkroom.example'" in log.getvalue()
    assert "Traceback" not in log.getvalue()


def test_a_wrong_host_is_told_to_openais_clients_in_their_form(client: Client) -> None:
    reply = client.get("/v1/models", headers={"Host": "darkroom.example"})
    assert reply.status_code == 400
    assert "ALLOWED_HOSTS" in reply.json()["error"]["message"]


# ---------------------------------------------------------------- media types


READS_JSON_UNNAMED = {address for address in POSTS if issubclass(view_of(address).cls, OpenAIView | A1111View)}
"""Clients of OpenAI's and A1111's may leave the Content-Type out."""
READ_BY_MEDIA_TYPE = [address for address in POSTS if not address.startswith("/hf/")]
"""Hugging Face's tell JSON and pictures apart by their bytes."""


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencode", "a\u00ff/b", "/"])
def test_what_is_no_json_is_told_to_send_json(client: Client, content_type: str) -> None:
    def check(address: str) -> None:
        reply = client.generic("POST", address, b'{"prompt": "x"}', content_type=content_type)
        assert reply.status_code == 415
        assert "send JSON with the header Content-Type: application/json" in detail_of(reply)

    check_each([one for one in READ_BY_MEDIA_TYPE if content_type or one not in READS_JSON_UNNAMED], check)


# ---------------------------------------------------------------- the documentation's own addresses


@pytest.mark.parametrize("query", ["version=%00", "version=1", "lang=x", "lang=%0d%0a", "format=yaml", "format=%00"])
@pytest.mark.parametrize("address", ["/api/schema/", "/api/docs/"])
def test_the_documentations_libraries_read_no_parameters(client: Client, address: str, query: str) -> None:
    assert problem(client.get(f"{address}?{query}"), 400)["errors"][0]["code"] == "unknown_parameter"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST", "FOO"])
def test_no_method_of_any_address_is_an_error_of_the_server(client: Client, method: str) -> None:
    def check(address: str) -> None:
        reply = client.generic(method, address, b"{}", content_type="application/json")
        assert reply.status_code < 500 or address == "/api/ready/"
        if reply.status_code >= 400:
            problem(reply, reply.status_code)

    check_each(gets(), check)


def test_a_preflight_of_a_foreign_page_is_a_problem(client: Client) -> None:
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert "CORS_ORIGINS" in problem(client.options("/api/txt2img/", headers=headers), 403)["detail"]


# ---------------------------------------------------------------- what a client wrote, told to it again


def test_every_text_in_a_problem_can_be_sent() -> None:
    body = problem_body(400, "invalid", "a\ud800", [{"field": "\udfff", "code": "invalid", "detail": "é\udc80"}])
    assert body["detail"] == "a\\ud800"
    assert body["errors"] == [{"field": "\\udfff", "code": "invalid", "detail": "é\\udc80"}]


@pytest.mark.parametrize(
    "path", ["/v1/models", "/chat-server/v1/chat/completions", "/api/jobs/", "/generate", "/hf/text-to-image"]
)
def test_every_text_in_a_dialects_error_can_be_sent(path: str) -> None:
    assert "\\ud800" in str(error_body(path, 400, "invalid", "a\ud800")[0]).replace("\\\\", "\\")


def test_too_many_query_parameters_are_a_problem_that_says_the_limit(client: Client) -> None:
    query = "&".join(f"a{number}=1" for number in range(300))
    assert "200 fields" in problem(client.get(f"/api/jobs/?{query}"), 400)["detail"]


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("sdxl", ["sdxl-base-1.0", "sdxl-turbo"]),
        ("SDXL", ["sdxl-base-1.0", "sdxl-turbo"]),
        ("dreamshaper", ["dreamshaper-8"]),
        ("flux", ["flux.1-schnell"]),
        ("stable-diffusion", ["stable-diffusion-v1-5", "stable-diffusion-v2-1", "stable-diffusion-3.5-medium"]),
        ("openjorney-v4", ["openjourney-v4"]),
    ],
)
def test_an_unknown_model_suggests_those_that_begin_so_the_base_before_what_was_made_from_it(
    client: Client, wanted: str, nearest: list[str]
) -> None:
    reply = client.post("/api/txt2img/", {"prompt": "x", "model_id": wanted}, content_type="application/json")
    detail = problem(reply, 400)["errors"][0]["detail"]
    assert detail == f"There is no model '{wanted}'. Did you mean {' or '.join(nearest)}?"


@pytest.mark.django_db(transaction=True)
def test_models_of_the_same_task_alone_are_proposed(client: Client) -> None:
    """Of all that begins with “starter”, and of what is called like a model of another task."""
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    for path, body, wanted, proposed in (
        ("/api/txt2img/", {"prompt": "x"}, "STARTER", " Did you mean starter?"),
        ("/api/upscale/", {"image": text(png())}, "starter-up", " Did you mean starter-upscaler?"),
        ("/api/clip-score/", {"images": [text(png())], "prompts": ["a"]}, "starter-cl", " Did you mean starter-clip?"),
        ("/v1/chat/completions", chat, "starter-wlm", " Did you mean starter-vlm or starcoder2-3b?"),
        ("/v1/chat/completions", chat, "gpt-3.5-turbo", ""),  # sd-turbo makes pictures
    ):
        field = "model" if path.startswith("/v1/") else "model_id"
        reply = client.post(path, {**body, field: wanted}, content_type="application/json").json()
        detail = reply["error"]["message"] if "error" in reply else reply["errors"][0]["detail"]
        assert (
            detail.removesuffix(" GET /v1/models lists those that this server knows.")
            == f"There is no model '{wanted}'.{proposed}"
        )
