"""Pictures for `benchmarks.gpu`: by the engine with and without CUDA graphs, and by a plain pipeline's call.  [torch; no Django]"""

from __future__ import annotations

from contextlib import closing
from itertools import cycle
from typing import Any

from api.devices import dtype_name
from api.errors import DarkroomError
from api.images.backends.engine.engine import Engine
from api.images.backends.engine.tasks import Task
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.spec import Txt2ImgSpec
from api.loading.model_leases import DenoiserOptions
from api.model_loader import ModelLoader
from benchmarks.gpu_run import Hooks, Run

PICTURES, MIXED = (1, 4, 8, 16), (8, 16)
SCHEDULERS = ("euler", "ddim", "dpmpp_2m", "euler_a", "dpmpp_2m_karras", "ddpm")
PROMPT = "a red circle above a blue square, a serene lake at sunset"
GUIDANCE = 7.5
GRAPHS = {"graphs": DenoiserOptions(), "no graphs": DenoiserOptions(graphs=False)}
COMPILED = {"graphs of compiled blocks": DenoiserOptions(compile_blocks=True)}


def pictures(run: Run, name: str) -> None:
    """Ours through the loader and the engine, then a plain pipeline's call: one, four, eight and sixteen pictures."""
    family = run.models.families[name]
    run.table.start(f"{name}: {family.pixels}×{family.pixels}, {run.steps} steps with guidance")
    for kind, options in {**GRAPHS, **(COMPILED if run.compiles else {})}.items():
        loader = run.models.loader(options=options)
        loader.load(name)
        if kind == "graphs":
            dtypes = sorted(loader.loaded()[0]["dtypes"].items())
            run.table.add("dtypes", ", ".join(f"{part} {dtype}" for part, dtype in dtypes))
        for count in PICTURES:
            with run.going_on(f"ours, {kind}, {count}"):
                measure_ours(run, loader, name, family.pixels, kind, count)
        for count in MIXED:
            with run.going_on(f"ours, {kind}, {count} mixed requests"):
                measure_mixed(run, loader, name, family.pixels, kind, count)
        told = loader.loaded()[0].get("graphs", {})
        run.table.add(f"ours, {kind}: captured", " ".join(f"{key} {value}" for key, value in told.items()) or "nothing", **told)
        loader.unload(name)
    pipeline = run.models.plain(name)
    for count in PICTURES:
        with run.going_on(f"plain diffusers, {count}"):
            measure_plain(run, pipeline, family.pixels, count)
    run.models.park(name)


def measure_ours(run: Run, loader: ModelLoader, name: str, pixels: int, kind: str, count: int) -> None:
    """After a request of three steps: one as it is, one that captures, one that replays."""
    make_ours(loader, name, pixels, count, 3)
    hooks = Hooks()
    taken = run.seconds(lambda: make_ours(loader, name, pixels, count, run.steps, hooks))
    phases = {phase: round(seconds, 4) for phase, seconds in hooks.phases.items() if phase != "load"}
    told = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in phases.items())
    row = f"ours, {kind}, {count}"
    run.table.add(row, f"{taken:7.2f} s  {count / taken:6.2f}/s  ({told})", seconds=taken, phases=phases)


def measure_mixed(run: Run, loader: ModelLoader, name: str, pixels: int, kind: str, count: int) -> None:
    """Requests with a scheduler and a prompt of their own each, and from two thirds of the steps to all of them."""
    make_mixed(loader, name, pixels, count, run.steps)
    taken = run.seconds(lambda: make_mixed(loader, name, pixels, count, run.steps))
    run.table.add(f"ours, {kind}, {count} mixed requests", f"{taken:7.2f} s  {count / taken:6.2f}/s", seconds=taken)


def measure_plain(run: Run, pipeline: Any, pixels: int, count: int) -> None:
    make_plain(pipeline, pixels, count, 2)
    taken = run.seconds(lambda: make_plain(pipeline, pixels, count, run.steps))
    name = f"plain diffusers, {dtype_name(run.device.dtype)}, {count}"
    run.table.add(name, f"{taken:7.2f} s  {count / taken:6.2f}/s", seconds=taken)


def make_ours(loader: ModelLoader, name: str, pixels: int, count: int, steps: int, hooks: Hooks | None = None) -> None:
    spec = Txt2ImgSpec(
        prompt=PROMPT, model_id=name, width=pixels, height=pixels, steps=steps, guidance_scale=GUIDANCE, seed=0, num_images=count,
    )  # fmt: skip
    [made] = generate(loader, [ImageRequest(spec)], hooks or Hooks())
    if isinstance(made, Exception) or len(made) != count:
        raise RuntimeError(f"{made} instead of {count} pictures")


def make_plain(pipeline: Any, pixels: int, count: int, steps: int) -> None:
    pipeline(
        PROMPT, width=pixels, height=pixels, num_inference_steps=steps, guidance_scale=GUIDANCE, num_images_per_prompt=count,
    )  # fmt: skip


class QuietTaskHooks:
    """Of one request, without previews."""

    def on_step(self, step: int, steps: int, preview: bytes | None) -> None: ...

    def on_load(self, fraction: float, text: str) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def add_time(self, name: str, seconds: float) -> None: ...

    def warn(self, text: str) -> None: ...

    def explain(self, error: Exception) -> DarkroomError:
        raise error


def make_mixed(loader: ModelLoader, name: str, pixels: int, count: int, steps: int) -> None:
    with closing(Engine(loader, name)) as engine:
        for number, scheduler in zip(range(count), cycle(SCHEDULERS), strict=False):
            spec = Txt2ImgSpec(
                prompt=f"{PROMPT}, {number}", model_id=name, width=pixels, height=pixels, scheduler=scheduler, seed=number,
                steps=steps - number * steps // (3 * count), guidance_scale=GUIDANCE,
            )  # fmt: skip
            engine.add(Task(ImageRequest(spec), QuietTaskHooks(), lambda number, picture: None))
        results = []
        while engine.tasks:
            results += [task.result for task in engine.step()]
    if results != [True] * count:
        raise RuntimeError(f"{results} instead of {count} pictures")
