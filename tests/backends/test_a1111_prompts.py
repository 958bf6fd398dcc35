"""Prompts in AUTOMATIC1111's syntax against a plain reading of how it encodes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from api.errors import DarkroomError
from api.images.backends.a1111_prompts import apply_weights, restoring_factor
from api.images.backends.engine.passes import JoinCache, run_pass
from api.images.backends.local import generate
from api.images.backends.prompts import PromptEncoder, words_of
from api.images.prompt_syntax.syntaxes import A1111, COMPEL, PLAIN
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request
from tests.backends.test_engine_equality import start
from tests.prompts.generator import make_prompt
from tests.prompts.reference import read

LONG = "a photo of a red cat, at the lake " * 12


@pytest.fixture(params=["sd1", "sdxl"])
def pipeline(request: pytest.FixtureRequest, loader: ModelLoader) -> Iterator[Any]:
    with loader.use(request.param, "text-to-image") as lease:
        yield lease.pipeline


def encoder(pipeline: Any, syntax: str = A1111, clip_skip: int | None = None) -> PromptEncoder:
    return PromptEncoder(pipeline, clip_skip=clip_skip, warn=pytest.fail, syntax=syntax)


def weighted_texts(segment: list[tuple[str, float]]) -> list[tuple[str, float]]:
    texts: list[tuple[str, float]] = []
    for character, weight in segment:
        if texts and abs(texts[-1][1] - weight) < 1e-9 * max(1, abs(weight)):
            texts[-1] = texts[-1][0] + character, weight
        else:
            texts.append((character, weight))
    return texts


def windows(prompt: str, tokenizer: Any) -> list[list[tuple[int, float]]]:
    """75 tokens each; a full one ends behind its last comma, where that is among its last 20 tokens."""
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    found: list[list[tuple[int, float]]] = [[]]
    for number, segment in enumerate(read(prompt)):
        if number:
            found.append([])
        for text, weight in weighted_texts(segment):
            for token in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]:
                if len(found[-1]) == 75:
                    commas = [place for place, (one, _) in enumerate(found[-1]) if one == comma]
                    moved: list[tuple[int, float]] = []
                    if commas and token != comma and 75 - commas[-1] <= 20:
                        found[-1], moved = found[-1][: commas[-1] + 1], found[-1][commas[-1] + 1 :]
                    found.append(moved)
                found[-1].append((token, weight))
    return found if found[-1] or len(found) == 1 else found[:-1]


@torch.no_grad()
def by_reference(pipeline: Any, prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    is_xl = getattr(pipeline, "text_encoder_2", None) is not None
    pairs = [(pipeline.tokenizer, pipeline.text_encoder)]
    pairs += [(pipeline.tokenizer_2, pipeline.text_encoder_2)] if is_xl else []
    parts, pooled = [], None
    for tokenizer, text_encoder in pairs:
        states = []
        for number, window in enumerate(windows(prompt, tokenizer)):
            ids = [tokenizer.bos_token_id, *[token for token, _ in window], tokenizer.eos_token_id]
            ids += [tokenizer.pad_token_id] * (77 - len(ids))
            output = text_encoder(torch.tensor([ids]), output_hidden_states=True)
            state = output.hidden_states[-2] if is_xl else output.last_hidden_state
            weights = torch.ones(77)
            weights[1 : len(window) + 1] = torch.tensor([weight for _, weight in window])
            after = state * weights[None, :, None]
            states.append(after * restoring_factor(float(state.mean() / after.mean()), weights.tolist()))
            pooled = getattr(output, "text_embeds", None) if number == 0 else pooled
        parts.append(torch.cat(states, dim=1))
    return torch.cat(parts, dim=-1), pooled


@pytest.mark.parametrize(
    "prompt",
    ["a (red:1.5) cat", "((a)) [cat] BREAK (lake:0.7)", "", "BREAK a", LONG, f"({LONG}:1.2) {LONG}", "a red " * 60, "red, " * 90,
     "cat " * 60 + ", " + "lake " * 30, *(make_prompt(number) for number in range(0, 60, 5))],
)  # fmt: skip
def test_embeddings_are_those_of_a_plain_reference(pipeline: Any, prompt: str) -> None:
    if "[" in prompt and ":" in prompt:
        prompt = prompt.replace("[", "")  # which could be a schedule
    wanted, pooled = by_reference(pipeline, prompt)
    encoded = encoder(pipeline).encode(prompt, "", guided=False)

    assert encoded.embeds.shape == wanted.shape
    assert torch.allclose(encoded.embeds, wanted, atol=1e-5)
    assert (pooled is None) == (encoded.pooled is None)
    assert pooled is None or torch.allclose(encoded.pooled, pooled, atol=1e-5)  # type: ignore[arg-type]


def test_the_mean_is_what_it_was_without_weights() -> None:
    states = torch.randn(1, 77, 32) + 0.5
    weighted = apply_weights(states, [1.0] * 10 + [1.4] * 20 + [1.0] * 47)

    assert float(weighted.mean()) == pytest.approx(float(states.mean()), rel=1e-5)


@pytest.mark.parametrize(("ratio", "wanted"), [(0.9, 0.9), (-1.5, 1.0), (float("nan"), 1.0), (1000.0, 2.0), (0.001, 1 / 3)])
def test_a_mean_near_zero_does_not_blow_up_the_embedding(ratio: float, wanted: float) -> None:
    assert restoring_factor(ratio, [1.0, 1.5]) == pytest.approx(wanted)


def test_a_prompt_without_weights_is_encoded_as_diffusers_does(pipeline: Any) -> None:
    plain, weighted = (encoder(pipeline, syntax).encode("a red cat", "blue", guided=True) for syntax in (PLAIN, A1111))

    assert torch.equal(plain.embeds, weighted.embeds)
    assert torch.allclose(plain.negative_embeds, weighted.negative_embeds, atol=1e-6)  # type: ignore[arg-type]


def test_plain_has_no_marks(pipeline: Any) -> None:
    marked, plain = (encoder(pipeline, PLAIN).encode(text, "", guided=False).embeds for text in ("a (red)++ cat", "a red cat"))

    assert not torch.equal(marked, plain)
    assert torch.isfinite(encoder(pipeline, PLAIN).encode('"(a)1.4 [b:1] BREAK \\', "", guided=False).embeds).all()


def test_clip_skip_is_that_of_the_other_syntaxes(loader: ModelLoader) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        skipped = [encoder(lease.pipeline, syntax, 1).encode("a red cat", "", guided=False).embeds for syntax in (PLAIN, A1111)]
        last = encoder(lease.pipeline).encode("a red cat", "", guided=False).embeds

    assert torch.allclose(skipped[0], skipped[1], atol=1e-6)
    assert not torch.equal(last, skipped[1])


def test_weights_beyond_reason_are_an_error_that_names_the_prompt(loader: ModelLoader, hooks: Recorder) -> None:
    with pytest.raises(DarkroomError) as raised:
        generate(loader, [request(prompt=f"a (red:{'9' * 400}) cat", prompt_syntax=A1111)], hooks)

    assert (raised.value.status, raised.value.field) == (400, "prompt")


def picture(loader: ModelLoader, hooks: Recorder, prompt: str, **options: Any) -> bytes:
    spec: dict[str, Any] = {
        "width": 32,
        "height": 32,
        "steps": 4,
        "prompt_syntax": A1111,
        "negative_prompt": "dog",
        "guidance_scale": 5.0,
    }
    [made] = generate(loader, [request(prompt=prompt, **spec | options)], hooks)
    return made[0].tobytes()  # type: ignore[index, union-attr]


def test_a_prompt_that_changes_is_each_of_its_texts_in_turn(loader: ModelLoader, hooks: Recorder) -> None:
    red, blue = (picture(loader, hooks, f"a {word} cat") for word in ("red", "blue"))

    assert picture(loader, hooks, "a [red:blue:0] cat") == blue
    assert picture(loader, hooks, "a [red:blue:4] cat") == red
    assert picture(loader, hooks, "a [red|red] cat") == red
    mixed = [picture(loader, hooks, prompt) for prompt in ("a [red:blue:0.5] cat", "a [red|blue] cat", "a [blue:red:0.5] cat")]
    assert len({red, blue, *mixed}) == 5
    assert hooks.warnings == []


def test_the_negative_prompt_changes_too(loader: ModelLoader, hooks: Recorder) -> None:
    fixed, changing = (picture(loader, hooks, "a cat", negative_prompt=text) for text in ("red", "[red:blue:0.5]"))

    assert fixed != changing


@pytest.mark.parametrize("scheduler", ["euler", "heun", "dpmpp_2m"])
def test_the_change_comes_after_its_step(loader: ModelLoader, scheduler: str) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        asked = request(prompt="a [red:blue:2] cat", prompt_syntax=A1111, steps=4, scheduler=scheduler, width=32, height=32)
        row = start(lease, asked)
        first, steps = row.conditioning, []
        while not row.is_done:
            step = row.position // row.scheduler.order + 1
            run_pass(lease.pipeline.unet, [row], JoinCache())
            steps.append((step, row.conditioning is first))

    assert all(is_first == (step <= 2) for step, is_first in steps)
    assert {step for step, _ in steps} == {1, 2, 3, 4}


def test_a_model_without_weights_is_told_the_words_alone(loader: ModelLoader, hooks: Recorder) -> None:
    words, marked = (
        picture(loader, hooks, text, model_id="flux", negative_prompt="") for text in ("a red cat", "a (red:1.5) cat")
    )

    assert words == marked
    assert "it was told the words alone" in " ".join(hooks.warnings)


@pytest.mark.parametrize(
    ("prompt", "syntax", "wanted"),
    [
        ("a (red:1.5) cat", A1111, "a red cat"),
        ("a (red)++ cat", PLAIN, "a (red)++ cat"),
        ("a (red)++ cat", COMPEL, "a red cat"),
    ],
)
def test_judges_are_told_the_words_alone(prompt: str, syntax: str, wanted: str) -> None:
    assert words_of(prompt, syntax) == wanted
