"""The figures of the starter models, on pictures and prompts that training never saw together. Needs the judge."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.training import data
from api.starter.training.autoencoder import psnr
from api.starter.training.clip import first_among_hundred, tokenize, told_apart
from api.starter.training.judge import Judge, accuracy, load_judge, see
from api.starter.training.run import log, quick_dtype, to_pictures, to_tensor
from api.starter.world.facts import choices_of
from api.starter.world.scene import Scene, describe_scene, held_out_things, sample_scene
from api.starter.world.shapes import Group, Shapes, describe_shapes, is_held_out, sample_shapes

STEPS, GUIDANCE, GUIDANCE_RESCALE, BATCH = 20, 5.0, 1.0, 10
"""The first three are the catalog's for `starter`."""
SEED = data.EVALUATION_SEED
Seen = tuple[dict[str, str], dict[str, bool]]


@dataclass(frozen=True)
class PromptCase:
    """A prompt for a held-out scene, and what it names."""

    prompt: str
    landform: str
    time: str
    things: tuple[str, ...]

    def facts_found(self, seen: Seen) -> list[bool]:
        choices, things = seen
        return [choices["landform"] == self.landform, choices["time"] == self.time, *(things[thing] for thing in self.things)]


def scene_prompts(count: int) -> list[PromptCase]:
    """Each names a landform, a time and one or two things, at least one of them in a triple kept out of training."""
    return [case for _, case in islice(sample_cases(np.random.default_rng(SEED + 1)), count)]


def sample_cases(rng: np.random.Generator) -> Iterator[tuple[Scene, PromptCase]]:
    """Without end: a scene, and a prompt for a part of it."""
    while True:
        scene = sample_scene(rng)
        if not (held_out := held_out_things(scene)):
            continue
        others = [thing for thing in scene.objects if thing not in held_out]
        named = (held_out[0], *others[: int(rng.integers(2))])
        plain = Scene(scene.landform, scene.time, "clear", named)
        yield scene, PromptCase(describe_scene(plain, rng, named), scene.landform, scene.time, named)


def shape_prompts(count: int) -> list[tuple[str, Shapes]]:
    """Single shapes in a relation, of pairs of coloured shapes kept out of training."""
    rng = np.random.default_rng(SEED + 2)
    cases: list[tuple[str, Shapes]] = []
    while len(cases) < count:
        shapes = sample_shapes(rng)
        if shapes.second and is_held_out(shapes.first, shapes.second):
            single = Shapes(shapes.first, Group(shapes.second.form, shapes.second.colour), shapes.relation)
            cases.append((describe_shapes(single, rng), single))
    return cases


def colours_found(shapes: Shapes, seen: dict[str, str]) -> list[bool]:
    """For each of the two shapes, whether one of that colour and form is there, wherever it stands."""
    there = [(seen[f"form_{place}"], seen[f"colour_{place}"]) for place in "ab"]
    return [(group.form, group.colour) in there for group in (shapes.first, shapes.second) if group]


def relation_found(shapes: Shapes, seen: dict[str, str]) -> bool:
    """The right arrangement, and more right in the asked order than in the other."""
    cases = choices_of(shapes)
    if seen["arrangement"] != cases["arrangement"]:
        return False
    names, swapped = [f"{what}_{place}" for what in ("form", "colour") for place in "ab"], str.maketrans("ab", "ba")
    straight = sum(seen[name] == cases[name] for name in names)
    turned = sum(seen[name] == cases[name[:-1] + name[-1].translate(swapped)] for name in names)
    return straight > turned


class Studio:
    """The pipeline and what looks at its pictures, in bf16 where this processor is quick at it."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        dtype = quick_dtype(torch.device("cpu"))  # probed once by a process, also by a server: no part of loading
        start = time.perf_counter()
        self.pipeline = StableDiffusionPipeline.from_pretrained(weights / "starter", dtype=dtype)
        self.loading_seconds = time.perf_counter() - start
        self.pipeline.set_progress_bar_config(disable=True)
        self.clip: CLIPModel = CLIPModel.from_pretrained(weights / "starter-clip").eval()
        self.tokenizer: CLIPTokenizer = self.pipeline.tokenizer
        self.judge: Judge = load_judge(weights)

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], guidance: float = GUIDANCE) -> torch.Tensor:
        """(N, 3, 128, 128) in -1..1, one for each prompt and seed."""
        parts = []
        for start in range(0, len(prompts), BATCH):
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[start : start + BATCH]]
            images = self.pipeline(
                list(prompts[start : start + BATCH]),
                num_inference_steps=STEPS,
                guidance_scale=guidance,
                guidance_rescale=GUIDANCE_RESCALE,
                generator=generators,
                output_type="pt",
            ).images
            parts.append(images.float() * 2 - 1)
        return torch.cat(parts)

    @torch.no_grad()
    def similarity(self, prompts: Sequence[str], pictures: torch.Tensor) -> torch.Tensor:
        """(N, M) cosines by starter-clip."""
        tokens = tokenize(self.tokenizer, list(prompts))
        return self.clip(input_ids=tokens, pixel_values=pictures).logits_per_text / self.clip.logit_scale.exp()


def interval(right: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by the bootstrap over prompts, 2,000 draws."""
    values, rng = np.asarray(right, float), np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def prompt_following(studio: Studio, count: int, guidance: float) -> dict[str, Any]:
    """Shares of what was asked for that the judge sees; `by_thing`: of the named things one by one."""
    cases = scene_prompts(count)
    pictures = studio.draw([a.prompt for a in cases], [SEED + i for i in range(count)], guidance)
    found = [a.facts_found(seen) for a, seen in zip(cases, see(studio.judge, pictures), strict=True)]
    by_thing: dict[str, list[bool]] = {}
    for a, facts in zip(cases, found, strict=True):
        for thing, there in zip(a.things, facts[2:], strict=True):
            by_thing.setdefault(thing, []).append(there)
    return {
        "all": float(np.mean([all(f) for f in found])),
        "facts": float(np.mean([v for f in found for v in f])),
        "landform": float(np.mean([f[0] for f in found])),
        "time": float(np.mean([f[1] for f in found])),
        "things": float(np.mean([there for values in by_thing.values() for there in values])),
        "by_thing": {thing: float(np.mean(values)) for thing, values in sorted(by_thing.items())},
    }


def shape_following(studio: Studio, count: int) -> dict[str, float]:
    cases = shape_prompts(count)
    seen = [choices for choices, _ in see(studio.judge, studio.draw([p for p, _ in cases], [SEED + i for i in range(count)]))]
    pairs = [(shapes, s) for (_, shapes), s in zip(cases, seen, strict=True)]
    return {
        "colours": float(np.mean([v for shapes, s in pairs for v in colours_found(shapes, s)])),
        "relations": float(np.mean([relation_found(shapes, s) for shapes, s in pairs])),
    }


def best_of_five(studio: Studio, count: int) -> dict[str, Any]:
    """All asked facts right: the first of five samples, and the one of five that starter-clip likes best."""
    cases = scene_prompts(count)
    one, best = [], []
    for index, a in enumerate(cases):
        pictures = studio.draw([a.prompt] * 5, [SEED + 5 * index + i for i in range(5)])
        right = [float(all(a.facts_found(seen))) for seen in see(studio.judge, pictures)]
        one.append(float(np.mean(right)))
        best.append(right[int(studio.similarity([a.prompt], pictures)[0].argmax())])
    return {
        "one": float(np.mean(one)),
        "best": float(np.mean(best)),
        "gain": interval([b - o for b, o in zip(best, one, strict=True)]),
    }


def img2img(studio: Studio, count: int, strengths: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 0.9)) -> dict[str, list[float]]:
    """Drawn pictures turned towards prompts for another landform and time: PSNR to the source, share of facts found."""
    pipeline = StableDiffusionImg2ImgPipeline(**studio.pipeline.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    cases, rng = scene_prompts(count), np.random.default_rng(SEED + 3)
    sources = to_tensor([world.render(sample_scene(rng), i) for i in range(count)])
    likeness, found = [], []
    for strength in strengths:
        generators = [torch.Generator().manual_seed(SEED + i) for i in range(count)]
        images = (
            pipeline(
                [a.prompt for a in cases],
                image=(sources + 1) / 2,
                strength=strength,
                guidance_scale=GUIDANCE,
                num_inference_steps=STEPS,
                generator=generators,
                output_type="pt",
            ).images.float()
            * 2
            - 1
        )
        error = ((images - sources) / 2).square().mean(dim=(1, 2, 3))
        likeness.append(float((-10 * error.log10()).mean()))
        facts = [v for a, s in zip(cases, see(studio.judge, images), strict=True) for v in a.facts_found(s)]
        found.append(float(np.mean(facts)))
    return {"strengths": list(strengths), "psnr_to_source": likeness, "facts_found": found}


def autoencoder_psnr(studio: Studio, count: int) -> float:
    rng = np.random.default_rng(SEED + 4)
    pictures = to_tensor([world.render(world.sample(rng), i) for i in range(count)])
    autoencoder = studio.pipeline.vae.float()
    value = float(np.mean([psnr(autoencoder, part) for part in pictures.split(16)]))
    studio.pipeline.vae.to(quick_dtype(torch.device("cpu")))
    return value


def seconds_per_picture(studio: Studio, tries: int = 3) -> float:
    """One picture alone, the best of some tries, with the threads that torch has."""
    times = []
    for seed in range(tries):
        start = time.perf_counter()
        studio.draw(["A serene lake at sunset"], [seed])
        times.append(time.perf_counter() - start)
    return min(times)


CONTACT_PROMPTS = (
    "A serene lake at sunset",
    "a sailing boat on a calm sea by day",
    "mountains at sunrise with pine trees",
    "a city skyline at night with a full moon",
    "a pizza with pepperoni and basil",
    "rolling hills by day with a rainbow",
    "a desert at sunset with cacti",
    "a forest at night with stars",
    "a flower meadow by day with a house",
    "a snowy landscape at sunrise with a hot-air balloon",
    "a beach at sunset with palm trees",
    "a lake at night with a full moon and stars",
    "a mountain range by day with birds",
    "green hills at sunset with round trees",
    "a city in the rain by day",
    "a red circle to the left of a blue square",
    "a green star above a yellow triangle",
    "three purple squares",
    "a red apple on a plate",
    "a blue cup of coffee",
    "a purple to pink gradient with confetti",
    "a blue background with stars",
    "a lake at sunrise in fog",
    "a snowy plain at night with falling snow and a house",
    "a strawberry cake on a wooden board",
)


def save_contact_sheet(studio: Studio, path: Path) -> None:
    """Five by five prompts, seeds 0 to 24 in reading order, nothing chosen."""
    pictures = to_pictures(studio.draw(CONTACT_PROMPTS, list(range(25))))
    rows = [np.concatenate(list(pictures[i : i + 5]), axis=1) for i in range(0, 25, 5)]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, quality=75, method=6)


def evaluate(prompts: int, weights: Path = WEIGHTS) -> dict[str, Any]:
    """All figures; `prompts` scenes for prompt following, fewer for what costs more."""
    studio, figures = Studio(weights), {}

    def note(name: str, value: Any) -> None:
        figures[name] = value
        log(f"{name}: {value}")

    note("judge", accuracy(studio.judge, 2000, SEED + 5))
    note("seconds_per_picture", seconds_per_picture(studio))
    note("loading_seconds", studio.loading_seconds)
    note("psnr", autoencoder_psnr(studio, 200))
    note("clip_first_of_100", first_among_hundred(studio.clip, studio.tokenizer, SEED + 6, 10))
    note("clip_told_apart", told_apart(studio.clip, studio.tokenizer, SEED + 7, 1000))
    note("shapes", shape_following(studio, prompts * 2 // 5))
    note("following", prompt_following(studio, prompts, GUIDANCE))
    note("following_without_guidance", prompt_following(studio, prompts, 1.0))
    note("img2img", img2img(studio, 40))
    note("best_of_five", best_of_five(studio, prompts))
    figures["prompts"] = prompts
    (weights / "figures.json").write_text(json.dumps(figures, indent=1))
    save_contact_sheet(studio, weights / "contact_sheet.webp")
    return figures
