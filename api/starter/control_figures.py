"""The figures of starter-control: whether pictures have the edges that were asked for, and whether they still follow their prompts.

Maps are of drawings of held-out scenes; each prompt names its scene's landform, time and one or two of its things.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

from api.images.backends.preprocessors.maps import MAPS, Pixels
from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.cards import renew_card
from api.starter.evaluation import BATCH, GUIDANCE, SEED, STEPS, PromptCase, Studio, interval, sample_cases
from api.starter.training.control import NAME
from api.starter.training.judge import Judge, see
from api.starter.training.run import log, save_grid, to_pictures, to_tensor

PREPROCESSORS = ("canny", "scribble")
NEAR = 2
"""Pixels that an edge may be off."""
SHOWN = 20


@dataclass(frozen=True)
class ControlCase:
    """A drawing of a held-out scene, and a prompt that names some of it."""

    asked: PromptCase
    drawing: Pixels
    is_seen: bool
    """Whether the judge finds all that the prompt asks for in the drawing itself. Of what it can't see there a map can't be the cause."""


def control_cases(count: int, judge: Judge) -> list[ControlCase]:
    rng = np.random.default_rng(SEED + 8)
    cases: list[ControlCase] = []
    for scene, asked in islice(sample_cases(rng), count):
        drawing = world.render(scene, int(rng.integers(2**31)))
        [seen] = see(judge, to_tensor([drawing]))
        cases.append(ControlCase(asked, drawing, all(asked.facts_found(seen))))
    return cases


@torch.no_grad()
def draw(studio: Studio, control: ControlNetModel, cases: Sequence[ControlCase], maps: Sequence[Pixels]) -> torch.Tensor:
    """(N, 3, 128, 128) in -1..1: as `Studio.draw`, each steered by its map."""
    pipeline = StableDiffusionControlNetPipeline(
        **studio.pipeline.components, controlnet=control, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    conditions = torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).to(control.dtype) / 255
    parts = []
    for start in range(0, len(cases), BATCH):
        chosen = cases[start : start + BATCH]
        images = pipeline(
            [case.asked.prompt for case in chosen],
            image=conditions[start : start + BATCH],
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(SEED + start + index) for index in range(len(chosen))],
            output_type="pt",
        ).images
        parts.append(images.float() * 2 - 1)
    return torch.cat(parts)


def edge_f1(wanted: Pixels, found: Pixels) -> float:
    """F1 of two edge maps: an edge counts where the other has one within NEAR pixels. 1 for two empty ones."""
    one, other = wanted[..., 0] > 0, found[..., 0] > 0
    if not one.any() and not other.any():
        return 1.0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR + 1,) * 2)
    near_one, near_other = (np.asarray(cv2.dilate(edges.astype(np.uint8), disc), bool) for edges in (one, other))
    precision = float(near_one[other].mean()) if other.any() else 0.0
    recall = float(near_other[one].mean()) if one.any() else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def following(studio: Studio, cases: Sequence[ControlCase], pictures: torch.Tensor) -> dict[str, float]:
    """Shares of facts, and of prompts with all their facts; of the prompts whose drawings show them to the judge, too."""
    found = [case.asked.facts_found(seen) for case, seen in zip(cases, see(studio.judge, pictures), strict=True)]
    of_seen = [facts for case, facts in zip(cases, found, strict=True) if case.is_seen]
    return {
        "all": float(np.mean([all(facts) for facts in found])),
        "facts": share_of_facts(found),
        "facts_of_seen": share_of_facts(of_seen),
    }


def share_of_facts(found: Sequence[Sequence[bool]]) -> float:
    return float(np.mean([fact for facts in found for fact in facts]))


def evaluate_control(prompts: int, control_folder: Path = WEIGHTS / NAME, weights: Path = WEIGHTS) -> dict[str, Any]:
    """Writes the figures, the card's table and a sheet of the first pictures, nothing chosen, into the ControlNet's folder."""
    studio = Studio(weights)
    cases = control_cases(prompts, studio.judge)
    control = ControlNetModel.from_pretrained(control_folder, dtype=studio.pipeline.unet.dtype)
    plain = studio.draw([case.asked.prompt for case in cases], [SEED + index for index in range(prompts)])
    drawings = [case.drawing for case in cases]
    edges = [MAPS["canny"](drawing) for drawing in drawings]
    figures: dict[str, Any] = {
        "prompts": prompts,
        "seen": sum(case.is_seen for case in cases),
        "without": {**following(studio, cases, plain), "f1": f1_of(edges, plain)},
        "drawings_through_the_autoencoder": {"f1": f1_of(edges, through_autoencoder(studio, drawings))},
    }
    rows = [drawings[:SHOWN], list(to_pictures(plain[:SHOWN]))]
    for name in PREPROCESSORS:
        maps = [MAPS[name](drawing) for drawing in drawings]
        pictures = draw(studio, control, cases, maps)
        figures[name] = {**following(studio, cases, pictures), "f1": f1_of(edges, pictures)}
        log(f"{name}: {figures[name]}")
        rows += [maps[:SHOWN], list(to_pictures(pictures[:SHOWN]))]
    (control_folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    shown = [row[index] for index in range(SHOWN // 2) for row in rows]
    save_grid(shown, control_folder / "samples.webp", len(rows), quality=75, method=6)
    if (card := control_folder / "README.md").is_file():
        renew_card(card, card_rows(figures))
    return figures


def through_autoencoder(studio: Studio, drawings: Sequence[Pixels]) -> torch.Tensor:
    """What the autoencoder leaves of the drawings' edges: more than that no ControlNet can keep."""
    vae = studio.pipeline.vae
    parts = []
    for start in range(0, len(drawings), BATCH):
        batch = torch.from_numpy(np.stack(drawings[start : start + BATCH])).permute(0, 3, 1, 2).to(vae.dtype) / 127.5 - 1
        with torch.no_grad():
            parts.append(vae.decode(vae.encode(batch).latent_dist.mean).sample.float())
    return torch.cat(parts)


def f1_of(edges: Sequence[Pixels], pictures: torch.Tensor) -> list[float]:
    """Mean over pictures, and its 95 % interval."""
    found = [MAPS["canny"](picture) for picture in to_pictures(pictures)]
    return list(interval([edge_f1(one, other) for one, other in zip(edges, found, strict=True)]))


def card_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Of the card's table."""
    count, seen, without = figures["prompts"], figures["seen"], figures["without"]
    of_seen = f"facts followed by the {seen} prompts of which the judge finds all in the drawing itself"
    steered = [(f"{name}, weight 1", figures[name]) for name in PREPROCESSORS]
    return [
        (
            f"{title}, {count} prompts: F1 of edges (95 % interval); facts followed; all of a prompt's; {of_seen}",
            described_figures(found),
        )
        for title, found in (*steered, ("the same seeds without a map", without))
    ] + [
        (
            "F1 that the autoencoder leaves of the drawings' own edges, which is the limit",
            described(figures["drawings_through_the_autoencoder"]["f1"]),
        )
    ]


def described_figures(found: dict[str, Any]) -> str:
    return f"{described(found['f1'])}; {found['facts']:.1%}; {found['all']:.1%}; {found['facts_of_seen']:.1%}"


def described(f1: Sequence[float]) -> str:
    mean, low, high = f1
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"
