"""Every row of the guarantees' table of bad input that belongs to pictures, with its exact answer."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests.live import LiveServer

pytestmark = [pytest.mark.models]


def problem(server: LiveServer, body: Any, path: str = "/api/txt2img/") -> dict[str, Any]:
    reply = server.client.post(path, json=body)
    assert reply.status_code == 400, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    return reply.json()


def png(size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("steps", 0, "greater than or equal to 1"),
        ("steps", 151, "less than or equal to 150"),
        ("steps", "many", "valid integer"),
        ("guidance_scale", 31, "less than or equal to 30"),
        ("guidance_scale", "NaN", "valid number"),
        ("guidance_scale", "Infinity", "valid number"),
        ("width", 63, "greater than or equal to 64"),
        ("width", 2056, "less than or equal to 2048"),
        ("height", 100, "multiple of 8"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**53, "less than or equal to"),
        ("seed", 10**400, "less than or equal to"),
        ("num_images", 17, "less than or equal to 16"),
        ("prompt", "", "blank"),
        ("prompt", "a" * 2001, "2000"),
        ("prompt", "a\x00b", "Null"),
        ("negative_prompt", "a" * 2001, "2000"),
        ("model_id", "tinny", "Did you mean tiny?"),
        ("model_id", "../../etc/passwd", "no model"),
        ("model_id", "http://example.org/model", "no model"),
        ("scheduler", "eular", "Did you mean 'euler'"),
        ("output_format", "gif", "not a valid choice"),
        ("loras", [{"id": "tiny-stile"}], "Did you mean tiny-style?"),
        ("loras", [{"id": "tiny-style", "weight": 9}], "less than or equal to 2"),
        ("loras", [{"id": "tiny-style", "unet": -3}], "greater than or equal to -2"),
        ("loras", [{"id": "tiny-style", "text": "strong"}], "valid number"),
        ("priority", 1000, "less than or equal to 100"),
        ("tags", ["x" * 51], "50"),
    ],
)
def test_a_wrong_value_is_a_400_that_names_the_field(server: LiveServer, field: str, value: Any, said: str) -> None:
    body = problem(server, {"prompt": "a lake", field: value})
    assert body["errors"][0]["field"].split(".")[0] == field
    assert said in body["errors"][0]["detail"]


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_more_steps_than_a_scheduler_can_take_is_a_400_that_names_its_limit(server: LiveServer, name: str) -> None:
    body = problem(server, {"prompt": "a lake", "scheduler": name, "steps": 51})

    assert body["errors"][0]["field"] == "steps"
    assert f"'{name}' takes at most 50 steps" in body["errors"][0]["detail"]


def test_a_missing_prompt_is_named(server: LiveServer) -> None:
    assert problem(server, {})["errors"][0] == {"field": "prompt", "code": "required", "detail": "This field is required."}


def test_an_unknown_field_is_named_with_the_nearest_known_one(server: LiveServer) -> None:
    error = problem(server, {"prompt": "a lake", "guidance": 5})["errors"][0]
    assert error["field"] == "guidance"
    assert "Did you mean 'guidance_scale'?" in error["detail"]


def test_json_that_is_none_is_a_400(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", content=b"{", headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")


def test_json_nan_is_a_400(server: LiveServer) -> None:
    content = b'{"prompt": "a", "guidance_scale": NaN}'
    reply = server.client.post("/api/txt2img/", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400


def test_another_media_type_is_a_415(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", content=b"prompt", headers={"Content-Type": "text/plain"})
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


def test_another_method_is_a_405(server: LiveServer) -> None:
    reply = server.client.get("/api/txt2img/")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")


def test_a_body_over_the_limit_is_a_413_before_it_is_read(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", content=b" " * (33 * 2**20), headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


def test_a_body_without_a_length_is_a_411(server: LiveServer) -> None:
    reply = server.client.post("/api/txt2img/", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (411, "length_required")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("not base64 at all!", "base64"),
        (base64.b64encode(b"GIF89a nothing").decode(), "PNG, JPEG"),
        (base64.b64encode(png()[:60]).decode(), ""),
        ("http://127.0.0.1/cat.png", "not allowed"),
        (7, ""),
    ],
)
def test_what_is_no_image_is_a_400_that_names_the_field(server: LiveServer, data: Any, said: str) -> None:
    body = problem(server, {"prompt": "a lake", "image": data}, "/api/img2img/")
    assert body["errors"][0]["field"] == "image"
    assert said in body["errors"][0]["detail"]


def test_more_than_25_megapixels_are_refused_before_decoding(server: LiveServer) -> None:
    large = base64.b64encode(png((5001, 5001))).decode()
    body = problem(server, {"prompt": "a lake", "image": large}, "/api/img2img/")
    assert body["errors"][0]["field"] == "image"
    assert "25" in body["errors"][0]["detail"]


@pytest.mark.parametrize("limit", ["0", "101", "9" * 400, "-1", "ten", "1e2"])
def test_a_pages_limit_has_bounds(server: LiveServer, limit: str) -> None:
    reply = server.client.get("/api/jobs/", params={"limit": limit})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == "limit"


@pytest.mark.parametrize(
    ("path", "parameter", "value"),
    [
        ("/api/jobs/", "cursor", "nonsense"),
        ("/api/jobs/", "cursor", base64.b64encode(b"p=not-a-uuid").decode()),
        ("/api/jobs/", "status", "done"),
        ("/api/jobs/", "kind", "txt2img2"),
        ("/api/jobs/", "created_after", "yesterday"),
        ("/api/images/", "order", "prettiest"),
        ("/api/images/", "seed", "x"),
        ("/api/images/", "rating", "nan"),
        ("/api/txt2img/", "include", "everything"),
    ],
)
def test_a_wrong_query_parameter_is_named(server: LiveServer, path: str, parameter: str, value: str) -> None:
    if path == "/api/txt2img/":
        reply = server.client.post(path, params={parameter: value}, json={"prompt": "a lake"})
    else:
        reply = server.client.get(path, params={parameter: value})
    assert reply.status_code == 400, reply.text
    assert reply.json()["errors"][0]["field"] == parameter


@pytest.mark.parametrize("path", ["/api/nothing/", "/api/jobs/no-uuid/", "/api/images/01a1fc7f-d591-74fd-aa3e-b0b90dcc2aa8/"])
def test_what_is_not_there_is_a_json_404(server: LiveServer, path: str) -> None:
    reply = server.client.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json")


def test_a_foreign_host_header_is_a_json_400(server: LiveServer) -> None:
    reply = server.client.get("/api/jobs/", headers={"Host": "evil.example"})
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")


def test_every_reply_carries_the_request_id_that_the_log_has(server: LiveServer) -> None:
    reply = server.client.get("/api/nothing/", headers={"X-Request-ID": "my-own-id-12345"})
    assert reply.headers["x-request-id"] == "my-own-id-12345"
    assert "id-12345" in server.log.read_text()
