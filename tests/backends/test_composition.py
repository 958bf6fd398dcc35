"""Prompts composed by AND, against a loop written by hand: guidance towards each part, times its weight (arXiv:2206.01714)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from api.images.backends.engine.passes import JoinCache, run_pass
from api.images.backends.local import generate
from api.images.backends.prompts import PromptEmbeddings, PromptEncoder
from api.images.backends.schedulers import make_scheduler
from api.images.prompt_syntax.reading import AND_IS_NOT_DONE
from api.images.prompt_syntax.syntaxes import A1111, COMPEL
from api.model_loader import Lease, ModelLoader
from tests.backends.recorder import Recorder, psnr, request
from tests.backends.test_engine_equality import by_engine_alone, start

NEGATIVE, GUIDANCE, STEPS = "a blue square", 5.0, 4
Parts = Sequence[tuple[str, float]]


@torch.no_grad()
def by_hand(lease: Lease, parts: Parts, scheduler_name: str | None) -> torch.Tensor:
    pipeline = lease.pipeline
    encoder = PromptEncoder(pipeline, clip_skip=None, warn=pytest.fail, syntax=A1111)
    told = [encoder.encode(text, NEGATIVE, guided=True) for text, _ in parts]
    scheduler = make_scheduler(scheduler_name, pipeline.scheduler, lease.entry.family)
    scheduler.set_timesteps(STEPS)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn((1, 4, 8, 8), generator=generator) * scheduler.init_noise_sigma
    draws = {"generator": generator} if scheduler_name == "euler_a" else {}
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, timestep)
        negative, *outputs = predict(pipeline, seen, timestep, told)
        guided = negative.clone()
        for output, (_, weight) in zip(outputs, parts, strict=True):
            guided += GUIDANCE * weight * (output - negative)
        latents = scheduler.step(guided, timestep, latents, **draws, return_dict=False)[0]
    return latents


def predict(
    pipeline: Any, latents: torch.Tensor, timestep: torch.Tensor, told: Sequence[PromptEmbeddings]
) -> list[torch.Tensor]:
    """The UNet once for each text, the negative first."""
    first = told[0]
    texts = [(first.negative_embeds, first.negative_pooled), *((one.embeds, one.pooled) for one in told)]
    outputs = []
    for embeds, pooled in texts:
        sizes = None if pooled is None else {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
        outputs.append(pipeline.unet(latents, timestep, encoder_hidden_states=embeds, added_cond_kwargs=sizes).sample)
    return outputs


def composed(model: str, prompt: str, **fields: Any) -> Any:
    values: dict[str, Any] = {"negative_prompt": NEGATIVE, "guidance_scale": GUIDANCE, "steps": STEPS, "prompt_syntax": A1111}
    return request(model_id=model, prompt=prompt, **{**values, **fields})


@pytest.mark.models
@pytest.mark.parametrize("scheduler", [None, "euler", "euler_a", "dpmpp_2m"])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a red cat AND a lake :0.7", [("a red cat", 1.0), ("a lake", 0.7)]),
        ("a (red:1.3) cat :1.2 AND a lake AND a dog :-0.4", [("a (red:1.3) cat", 1.2), ("a lake", 1.0), ("a dog", -0.4)]),
    ],
)
def test_a_composed_picture_is_that_of_the_loop(
    loader: ModelLoader, model: str, prompt: str, parts: Parts, scheduler: str | None
) -> None:
    with loader.use(model, "text-to-image") as lease:
        made = by_engine_alone(lease, composed(model, prompt, scheduler=scheduler))
        wanted = by_hand(lease, parts, scheduler)
        assert (made - wanted).abs().max() <= 1e-5 * wanted.abs().max()
        plain = by_engine_alone(lease, composed(model, parts[0][0], scheduler=scheduler))
        assert (made - plain).abs().max() > 1e-2


@pytest.mark.models
def test_halves_of_a_prompt_are_the_prompt(loader: ModelLoader) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        whole, halves = (
            by_engine_alone(lease, composed("sd1", prompt)) for prompt in ("a red cat", "a red cat :0.5 AND a red cat:.5")
        )
        assert (whole - halves).abs().max() <= 1e-5 * whole.abs().max()


@pytest.mark.models
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_beside_others_each_picture_is_the_same_but_for_rounding(loader: ModelLoader, model: str) -> None:
    """Composed of one, two and three, of parts that change with the steps or are longer than 77 tokens, with guidance and without."""
    prompts = ["a red cat", "a [red:blue:0.5] cat AND a lake :0.5", "a AND b AND c :2", "a dog", "a lake AND " + "red, " * 80]
    requests = [
        composed(model, prompt, seeds=(number,), guidance_scale=1.0 if prompt == "a dog" else GUIDANCE)
        for number, prompt in enumerate(prompts)
    ]
    with loader.use(model, "text-to-image") as lease:
        alone = [by_engine_alone(lease, asked) for asked in requests]
        rows, cache = [start(lease, asked) for asked in requests], JoinCache()
        while not rows[0].is_done:
            run_pass(lease.pipeline.unet, rows, cache)
        for row, wanted in zip(rows, alone, strict=True):
            assert (row.latents - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.models
@pytest.mark.parametrize(
    ("fields", "is_composed"),
    [
        ({}, True),
        ({"guidance_scale": 1.0}, False),
        ({"prompt_syntax": COMPEL}, False),
        ({"prompt": "a red cat", "negative_prompt": "a AND b"}, False),
    ],
)
def test_where_nothing_is_composed_the_parts_are_one_prompt(
    loader: ModelLoader, fields: dict[str, Any], is_composed: bool
) -> None:
    asked = {"prompt": "a red cat AND a lake", "negative_prompt": "", **fields}
    joined = {name: text.replace(" AND", ",") for name, text in asked.items() if name.endswith("prompt")}
    hooks = Recorder()
    [[made]] = generate(loader, [composed("sd1", **asked)], hooks)  # type: ignore[misc]
    [[plain]] = generate(loader, [composed("sd1", **{**asked, **joined})], Recorder())  # type: ignore[misc]
    assert (psnr(made, plain) > 60) != (is_composed or asked.get("prompt_syntax") == COMPEL)
    assert (AND_IS_NOT_DONE in hooks.warnings) == ("guidance_scale" in fields)
