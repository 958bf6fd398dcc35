"""Pictures a second on this machine: by the engine, and by diffusers' own call of the same model in the same run.  [torch]"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from django.conf import settings

from api.catalog import ModelEntry
from api.devices import dtype_name
from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.backends.warming import SilentHooks
from api.images.spec import TEXT_TO_IMAGE, Txt2ImgSpec
from api.loading.builders import builder_for
from api.model_loader import ModelLoader, get_loader
from config.catalog import get_catalog

PROMPT = "a lighthouse by the sea at sunset"
BUDGET_SECONDS = 30.0  # of measuring; loading comes before it
MOST_ROUNDS = 5
MOST_TOGETHER = 4
WARM_STEPS = 2
FEWEST_STEPS = 4  # with fewer, pictures are made one at a time alone
Make = Callable[[int, int], None]
"""(pictures, steps): makes so many at once."""


@dataclass(frozen=True)
class Figure:
    """Pictures a second."""

    together: int
    engine: float
    plain: float


@dataclass(frozen=True)
class Speed:
    steps: int
    rounds: int
    figures: Sequence[Figure]


# ---------------------------------------------------------------- the measurement


def seconds_of(make: Make, pictures: int, steps: int) -> float:
    started = time.perf_counter()
    make(pictures, steps)
    return time.perf_counter() - started


def plan(step_seconds: float, together: int, steps: int, budget: float) -> tuple[tuple[int, ...], int]:
    """How many pictures at once are measured, and the steps of each, so that one round fits. `step_seconds`: of both makers, for one
    picture."""
    for counts in ((1, together), (1,)) if together > 1 else ((1,),):
        fitting = int(budget / (step_seconds * sum(counts)))
        if fitting >= FEWEST_STEPS:
            return counts, min(steps, fitting)
    return (1,), min(steps, WARM_STEPS)


def measure(
    engine: Make, plain: Make, *, steps: int, together: int, tell: Callable[[str], object], budget: float = BUDGET_SECONDS
) -> Speed:
    """Both in turns, so that what else this machine does slows both alike."""
    deadline = time.monotonic() + budget
    tell("Preparing: the first pictures are slower")
    for make in (engine, plain):
        make(1, WARM_STEPS)
    step_seconds = sum(seconds_of(make, 1, WARM_STEPS) for make in (engine, plain)) / WARM_STEPS
    counts, steps = plan(step_seconds, together, steps, max(1.0, deadline - time.monotonic()) / 2)
    for make in (engine, plain):
        for count in counts[1:]:
            make(count, WARM_STEPS)
    spent = {(make, count): 0.0 for count in counts for make in (engine, plain)}
    rounds, longest = 0, 0.0
    while rounds == 0 or (rounds < MOST_ROUNDS and time.monotonic() + longest < deadline):
        rounds += 1
        tell(f"Measuring, round {rounds}: {max(0.0, deadline - time.monotonic()):.0f} s left at most")
        round_seconds = {key: seconds_of(key[0], key[1], steps) for key in spent}
        spent = {key: seconds + round_seconds[key] for key, seconds in spent.items()}
        longest = max(longest, sum(round_seconds.values()))
    figures = [Figure(count, *(rounds * count / spent[make, count] for make in (engine, plain))) for count in counts]
    return Speed(steps, rounds, figures)


# ---------------------------------------------------------------- the two makers


def chosen_model(loader: ModelLoader) -> ModelEntry:
    """The default image model where its weights are here, else the built-in one."""
    entry = get_catalog().get(settings.DEFAULT_IMAGE_MODEL)
    return entry if loader.store.available(entry) else get_catalog().get("starter")


def engine_maker(loader: ModelLoader, entry: ModelEntry) -> Make:
    def make(pictures: int, steps: int) -> None:
        width, height = entry.default_size, entry.default_size
        requests = [
            ImageRequest(
                Txt2ImgSpec(
                    prompt=PROMPT,
                    model_id=entry.id,
                    width=width,
                    height=height,
                    steps=steps,
                    guidance_scale=entry.default_guidance_scale,
                    seed=seed,
                )
            )
            for seed in range(pictures)
        ]
        for made in generate(loader, requests, SilentHooks(lambda: False)):
            if isinstance(made, DarkroomError):
                raise made

    return make


def plain_dtype(loader: ModelLoader) -> torch.dtype:
    """What scripts load models in: half precision on a GPU, and fp32 elsewhere."""
    return loader.device.dtype if loader.device.type == "cuda" else torch.float32


def plain_maker(loader: ModelLoader, entry: ModelEntry) -> Make:
    device = replace(loader.device, dtype=plain_dtype(loader), channels_last=False)
    builder = builder_for(entry, TEXT_TO_IMAGE)
    pipeline: Any = builder.pipeline_for(builder.build(entry, loader.store.folder(entry), device), TEXT_TO_IMAGE)
    pipeline.to(device.torch_device)

    def make(pictures: int, steps: int) -> None:
        pipeline(
            [PROMPT] * pictures,
            width=entry.default_size,
            height=entry.default_size,
            num_inference_steps=steps,
            guidance_scale=entry.default_guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in range(pictures)],
        )

    return make


def measure_speed(tell: Callable[[str], object]) -> list[str]:
    """Lines of text. The runtime has been started."""
    loader = get_loader()
    entry = chosen_model(loader)
    tell(f"Loading {entry.name}, twice")
    loader.load(entry.id)
    engine, plain = engine_maker(loader, entry), plain_maker(loader, entry)
    together = min(MOST_TOGETHER, entry.max_batch)
    speed = measure(engine, plain, steps=entry.default_steps, together=together, tell=tell)
    ours = next(model["dtypes"] for model in loader.loaded() if model["id"] == entry.id)
    assert isinstance(ours, dict)
    dtypes = ", ".join(sorted({str(dtype) for dtype in ours.values()}))
    fewer = f" (its own are {entry.default_steps}: fewer fit into the time)" if speed.steps < entry.default_steps else ""
    return [
        f"{entry.name}, {entry.default_size}×{entry.default_size}, {speed.steps} steps{fewer}, on {loader.device.name}",
        f"engine: {dtypes}; plain diffusers: {dtype_name(plain_dtype(loader))}; {speed.rounds} rounds, in turns",
        *(describe(figure) for figure in speed.figures),
    ]


def describe(figure: Figure) -> str:
    how = "one at a time" if figure.together == 1 else f"{figure.together} at once"
    rates = f"engine {figure.engine:.3g} pictures/s, plain diffusers {figure.plain:.3g} pictures/s"
    return f"{how}: {rates}: {figure.engine / figure.plain:.2f} ×"
