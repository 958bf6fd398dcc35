"""Pictures from an inference server, over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from PIL import Image

from api.errors import DarkroomError
from api.images.backends.remote import RemoteBackend
from tests.backends.inference_server import InferenceServer
from tests.backends.recorder import Recorder, painting, request

TOKEN = "hf_not-a-real-token"


@pytest.fixture
def server() -> Iterator[InferenceServer]:
    with InferenceServer().running() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def backend(server: InferenceServer, waits: list[float]) -> RemoteBackend:
    return RemoteBackend(token=TOKEN, endpoint=server.url, timeout=5, retries=2, backoff=1, sleep=waits.append)


def test_a_prompt_becomes_a_picture(backend: RemoteBackend, server: InferenceServer, hooks: Recorder) -> None:
    asked = request(negative_prompt="blurry", width=96, height=64, steps=12, guidance_scale=4.5, seeds=(42,))

    [picture] = backend.generate(asked, hooks)

    assert (picture.size, picture.getpixel((0, 0))) == ((96, 64), (255, 0, 0))
    assert server.calls[0]["body"] == {
        "inputs": "a red circle",
        "parameters": {
            "negative_prompt": "blurry",
            "height": 64,
            "width": 96,
            "num_inference_steps": 12,
            "guidance_scale": 4.5,
            "seed": 42,
        },
    }


def test_the_token_goes_to_the_server(backend: RemoteBackend, server: InferenceServer, hooks: Recorder) -> None:
    backend.generate(request(), hooks)

    assert server.calls[0]["headers"]["authorization"] == f"Bearer {TOKEN}"


def test_each_picture_is_a_call_with_its_seed(backend: RemoteBackend, server: InferenceServer, hooks: Recorder) -> None:
    pictures = backend.generate(request(seeds=(5, 6, 7)), hooks)

    assert len(pictures) == 3
    assert [call["body"]["parameters"]["seed"] for call in server.calls] == [5, 6, 7]
    assert hooks.steps == [(1, 3), (2, 3), (3, 3)]
    assert hooks.timings["remote"] > 0


def test_a_picture_becomes_a_picture(backend: RemoteBackend, server: InferenceServer, hooks: Recorder) -> None:
    source = Image.new("RGB", (200, 100), "blue")

    [picture] = backend.generate(request(image=source, strength=0.4), hooks)

    told = server.calls[0]["body"]["parameters"]
    assert (picture.size, picture.getpixel((0, 0))) == ((64, 64), (0, 0, 255))
    assert (told["prompt"], told["strength"], told["target_size"]) == ("a red circle", 0.4, {"width": 64, "height": 64})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"loras": (("ink", 1.0),)}, "loras"),
        ({"image": painting(), "mask": painting()}, "mask"),
        ({"clip_skip": 1}, "clip_skip"),
        ({"deterministic": True}, "deterministic"),
        ({"scheduler": "ddim"}, "scheduler"),
    ],
)
def test_what_the_protocol_has_no_place_for_is_an_error(
    backend: RemoteBackend, server: InferenceServer, hooks: Recorder, fields: dict[str, object], named: str
) -> None:
    with pytest.raises(DarkroomError, match=named) as raised:
        backend.generate(request(**fields), hooks)

    assert (raised.value.code, raised.value.status, raised.value.field) == ("unsupported_remotely", 400, named)
    assert server.calls == []
    assert request(**fields).spec.local_fields_in_use == (named,)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_later(
    backend: RemoteBackend, server: InferenceServer, hooks: Recorder, waits: list[float], status: int
) -> None:
    server.script = [status, status]

    assert len(backend.generate(request(), hooks)) == 1
    assert waits == [1, 2]


def test_the_server_s_own_word_on_when_to_come_back_is_kept(
    backend: RemoteBackend, server: InferenceServer, hooks: Recorder, waits: list[float]
) -> None:
    server.script = [(429, {"Retry-After": "7"})]

    backend.generate(request(), hooks)

    assert waits == [7]


def test_a_server_that_does_not_answer_is_given_up(server: InferenceServer, hooks: Recorder) -> None:
    server.script = [2.0, 2.0]
    backend = RemoteBackend(endpoint=server.url, timeout=0.2, retries=1, backoff=0)

    with pytest.raises(DarkroomError) as raised:
        backend.generate(request(), hooks)

    assert (raised.value.code, raised.value.status, len(server.calls)) == ("remote_timeout", 504, 2)


@pytest.mark.parametrize(
    ("status", "code", "ours"),
    [
        (400, "remote_refused", 400),
        (401, "remote_unauthorized", 502),
        (403, "remote_forbidden", 502),
        (404, "remote_model_unknown", 400),
        (422, "remote_refused", 400),
    ],
)
def test_what_another_try_can_not_change_is_not_tried_again(
    backend: RemoteBackend, server: InferenceServer, hooks: Recorder, status: int, code: str, ours: int
) -> None:
    server.script = [status]

    with pytest.raises(DarkroomError) as raised:
        backend.generate(request(), hooks)

    assert (raised.value.code, raised.value.status, len(server.calls)) == (code, ours, 1)


@pytest.mark.parametrize(("status", "code"), [(429, "remote_busy"), (500, "remote_failed"), (503, "remote_busy")])
def test_a_server_that_stays_busy_or_broken_is_an_error_after_the_last_try(
    backend: RemoteBackend, server: InferenceServer, hooks: Recorder, status: int, code: str
) -> None:
    server.script = [status] * 3

    with pytest.raises(DarkroomError) as raised:
        backend.generate(request(), hooks)

    assert (raised.value.code, len(server.calls)) == (code, 3)


def test_an_answer_that_is_no_picture_is_an_error(backend: RemoteBackend, server: InferenceServer, hooks: Recorder) -> None:
    server.script = [b"<html>"]

    with pytest.raises(DarkroomError) as raised:
        backend.generate(request(), hooks)

    assert (raised.value.code, raised.value.status) == ("remote_bad_answer", 502)


def test_no_server_is_an_error(hooks: Recorder) -> None:
    backend = RemoteBackend(endpoint="http://127.0.0.1:9/", timeout=1, retries=0)

    with pytest.raises(DarkroomError) as raised:
        backend.generate(request(), hooks)

    assert (raised.value.code, raised.value.status) == ("remote_unreachable", 502)


def test_neither_token_nor_address_nor_the_server_s_words_reach_an_error_or_the_log(
    backend: RemoteBackend, server: InferenceServer, hooks: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [500, 500, 401]

    with caplog.at_level(logging.INFO, "api"), pytest.raises(DarkroomError) as raised:
        backend.generate(request(), hooks)

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("api")]
    text = " ".join([raised.value.detail, repr(backend).replace(server.url, ""), *ours])
    assert not [secret for secret in (TOKEN, "secret-path", "internal words") if secret in text]


def test_a_cancelled_request_stops_before_its_next_picture(backend: RemoteBackend, server: InferenceServer) -> None:
    hooks = Recorder(cancel_when=lambda recorder, index: len(recorder.steps) >= 1)

    assert backend.generate(request(seeds=(1, 2, 3)), hooks) == []
    assert len(server.calls) == 1
