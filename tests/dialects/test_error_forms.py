"""Errors at a dialect's addresses have one form, whoever makes them: its view, another view, or what runs outside of views."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLResolver, get_resolver

from api.jobs.api.dialect import Dialect, SubmitView
from api.problems import error_body, problem_body


def dialects(patterns: list[Any], prefix: str = "/") -> Iterator[tuple[str, type[Dialect]]]:
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from dialects(one.url_patterns, prefix + str(one.pattern))
        elif issubclass(getattr(one.callback, "cls", object), Dialect):
            yield prefix + str(one.pattern), one.callback.cls


def all_dialects() -> list[tuple[str, type[Dialect]]]:
    return list(dialects(get_resolver().url_patterns))


def test_other_servers_are_spoken_outside_of_api_and_our_own_inside() -> None:
    assert {address for address, view in all_dialects() if not issubclass(view, SubmitView)} == {
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/chat/completions", "/chat-server/v1/chat/completions", "/chat-server/v1/chat/completions/torch", "/generate", "/score",
        "/hf/text-to-image", "/hf/image-to-image", "/hf/image-to-text", "/hf/visual-question-answering", "/hf/object-detection",
        "/hf/zero-shot-image-classification", "/hf/models/<path:model_id>",
        "/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/detection", "/v1/embeddings", "/v1/completions",
        "/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images",
        "/sdapi/v1/interrogate", "/sdapi/v1/reload-checkpoint", "/sdapi/v1/unload-checkpoint", "/controlnet/detect",
        "/hf/models/<path:model_id>/v1/chat/completions",
    }  # fmt: skip
    assert all(address.startswith("/api/") for address, view in all_dialects() if issubclass(view, SubmitView))


@pytest.mark.parametrize(("address", "view"), all_dialects())
def test_a_view_and_its_address_say_no_in_the_same_form(address: str, view: type[Dialect]) -> None:
    refused = problem_body(413, "too_large", "It is too large.")
    assert view().render_error(refused) == error_body(address, 413, "too_large", "It is too large.")[0]


def test_only_what_chat_models_write_is_cancelled_when_their_client_leaves() -> None:
    cancelling = {address for address, view in all_dialects() if view.cancels_when_client_leaves}
    cancels = ("chat", "responses", "/v1/completions")
    assert cancelling == {address for address, _ in all_dialects() if any(name in address for name in cancels)}
