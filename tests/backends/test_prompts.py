from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.prompts import PromptEncoder, parse_prompt
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request

LONG = "a photo of a red cat at the lake, " * 20


@pytest.fixture(params=["sd1", "sdxl"])
def pipeline(request: pytest.FixtureRequest, loader: ModelLoader) -> Iterator[Any]:
    with loader.use(request.param, "text-to-image") as lease:
        yield lease.pipeline


def encoder(pipeline: Any, hooks: Recorder, clip_skip: int | None = None) -> PromptEncoder:
    return PromptEncoder(pipeline, clip_skip=clip_skip, warn=hooks.warn)


def test_a_plain_prompt_is_encoded_as_diffusers_does(pipeline: Any, hooks: Recorder) -> None:
    told = encoder(pipeline, hooks).encode("a red cat", "blue", guided=True)
    theirs = (
        pipeline.encode_prompt("a red cat", "cpu", 1, True, negative_prompt="blue")
        if told.pooled is None
        else (pipeline.encode_prompt("a red cat", device="cpu", do_classifier_free_guidance=True, negative_prompt="blue"))
    )

    ours = [told.embeds, told.negative_embeds, told.pooled, told.negative_pooled][: len(theirs)]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(ours, theirs, strict=True))


def test_weights_change_the_embedding(pipeline: Any, hooks: Recorder) -> None:
    texts = ("a red circle", "a (red)++ circle", "a (red)-- circle", "a (red)1.4 circle", '("a red","circle").blend(1,0.5)')

    embeds = [encoder(pipeline, hooks).encode(text, "", guided=False).embeds for text in texts]

    assert all(not torch.equal(embeds[0], other) for other in embeds[1:])
    assert hooks.warnings == []


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (".blend(1e308,1e308)", ".blend(1e308, 1e308) is read as words"),
        (".and(1e5,1)", ".and(1e5, 1) is read as words"),
        (".Blend(1,2)", ".Blend(1, 2) is read as words"),
        (".and(20,1)", "has the weight 20; beyond 10"),
        (".blend(50,1,no_normalize)", "has the weight 50; beyond 10"),
        (".blend(50,1)", None),
        (".and(2,1)", None),
    ],
)
def test_what_of_a_mixture_is_not_one_or_too_strong_is_told(behind: str, said: str | None) -> None:
    told: list[str] = []
    parse_prompt(f'("a lake","a red circle"){behind}', told.append)
    assert [said in one for one in told if said] == [True] * (said is not None)
    assert bool(told) == bool(said)


def test_a_long_prompt_is_read_to_its_end(pipeline: Any, hooks: Recorder) -> None:
    one, other = (encoder(pipeline, hooks).encode(LONG + end, "", guided=False).embeds for end in ("blue", "green"))

    assert one.shape[1] > 77
    assert not torch.equal(one, other)


def test_positive_and_negative_have_one_length(pipeline: Any, hooks: Recorder) -> None:
    told = encoder(pipeline, hooks).encode("a cat", LONG, guided=True)

    assert told.negative_embeds is not None
    assert told.embeds.shape == told.negative_embeds.shape


def test_plain_parentheses_are_only_words(pipeline: Any, hooks: Recorder) -> None:
    for text in ("a (red) circle", "smile :) and :(", "a (red circle", 'say "hello', "()", "(,)", "[a|b] <lora:x:1>"):
        assert torch.isfinite(encoder(pipeline, hooks).encode(text, "", guided=False).embeds).all()


@pytest.mark.parametrize("text", ['("a","b").blend(1)', '("a","b").blend(x)', "(" * 900])
def test_a_mistake_in_the_syntax_is_plain_text_with_a_warning(loader: ModelLoader, hooks: Recorder, text: str) -> None:
    generate(loader, [request(prompt=text, width=32, height=32)], hooks)

    assert hooks.warnings == ["The prompt's weights could not be read; it was taken as plain text."]


@pytest.mark.parametrize("text", ["(" * 16 + "a" + ")" * 16, "a+ " * 60, '"(' * 300, "a " * 1000])
def test_no_prompt_takes_long_to_read(pipeline: Any, hooks: Recorder, text: str) -> None:
    started = time.process_time()

    encoder(pipeline, hooks).encode(text, "", guided=False)

    assert time.process_time() - started < 10  # seconds; without memoising, the first took hours


@pytest.mark.parametrize(
    "text", ["a (red)99999999999999999999999999999999999999999 cat", '("a","b").blend(0,0)', "a+ b " * 100]
)
def test_weights_beyond_reason_are_an_error_that_names_the_prompt(loader: ModelLoader, hooks: Recorder, text: str) -> None:
    with pytest.raises(DarkroomError) as raised:
        generate(loader, [request(prompt=text)], hooks)

    assert (raised.value.status, raised.value.field) == (400, "prompt")


def test_a_special_token_in_a_prompt_is_text(pipeline: Any, hooks: Recorder) -> None:
    whole, cut = (encoder(pipeline, hooks).encode(text, "", guided=False).embeds for text in ("red<|endoftext|>cat", "red"))

    assert not torch.equal(whole, cut)


def test_what_compel_can_not_do_here_is_told(pipeline: Any, hooks: Recorder) -> None:
    encoder(pipeline, hooks).encode("a cat.swap(dog) withLora(foo, 0.5)", "", guided=False)

    assert len(hooks.warnings) == 2


def test_clip_skip_of_zero_skips_nothing(pipeline: Any, hooks: Recorder) -> None:
    last, skipped = (encoder(pipeline, hooks, skip).encode("a cat", "", guided=False).embeds for skip in (None, 0))

    assert torch.equal(last, skipped)


def test_clip_skip_of_one_is_the_last_but_one_layer_normalised(loader: ModelLoader, hooks: Recorder) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        pipeline = lease.pipeline
        told = encoder(pipeline, hooks, 1).encode("a cat", "", guided=False).embeds
        ids = pipeline.tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
        hidden = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        wanted = pipeline.text_encoder.final_layer_norm(hidden)

    assert torch.allclose(told, wanted, atol=1e-5)


def test_more_layers_than_there_are_is_an_error_that_names_the_field(loader: ModelLoader, hooks: Recorder) -> None:
    with pytest.raises(DarkroomError) as raised:
        generate(loader, [request(clip_skip=12)], hooks)

    assert (raised.value.status, raised.value.field) == (400, "clip_skip")
