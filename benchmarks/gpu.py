"""Darkroom's engine on a GPU: pictures beside plain diffusers, the UNet as a CUDA graph, the VAE, small memories, chats. No Django.

    python -m benchmarks.gpu [--only sd15,sdxl,unet,vae,ladder,chat] [--json FILE]      # some minutes on an H200
    python -m benchmarks.gpu --tiny                                                    # every part in small, on any machine

The weights are random (time does not depend on them) and made on the device. Each part stands alone: one that fails says so, and the
rest goes on; the exit status is then 1. Wanted: torch, diffusers, transformers, compel, peft, accelerate, and nothing of the web side.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from api.devices import Device, dtype_name, probe_device
from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.spec import Txt2ImgSpec
from api.model_loader import ModelLoader
from benchmarks.gpu_chats import chats
from benchmarks.gpu_models import Models
from benchmarks.gpu_modules import unets, vaes
from benchmarks.gpu_run import Run, Table

PICTURES, MEMORIES = (1, 4, 16), (9, 5)
PROMPT = "a red circle above a blue square, a serene lake at sunset"
GUIDANCE = 7.5
LADDER_STEPS = 10


class Hooks:
    """Adds up the phases."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = defaultdict(float)
        self.warnings: list[str] = []

    def on_step(self, step: int, steps: int, previews: list[bytes | None]) -> None:
        return

    def on_load(self, fraction: float, text: str) -> None:
        return

    def cancelled(self, index: int) -> bool:
        return False

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] += time.perf_counter() - started

    def warn(self, text: str) -> None:
        self.warnings.append(text)


# ---------------------------------------------------------------- pictures


def pictures(run: Run, name: str) -> None:
    """Ours through the loader and the backend, then a plain pipeline's call, for one, four and sixteen pictures."""
    family, loader = run.models.families[name], run.models.loader()
    run.table.start(f"{name}: {family.pixels}×{family.pixels}, {run.steps} steps with guidance")
    loader.load(name)
    run.table.add("dtypes", ", ".join(f"{part} {dtype}" for part, dtype in sorted(loader.loaded()[0]["dtypes"].items())))
    for count in PICTURES:
        with run.going_on(f"ours, {count}"):
            measure_ours(run, loader, name, family.pixels, count)
    loader.unload(name)
    pipeline = run.models.plain(name)
    for count in PICTURES:
        with run.going_on(f"plain diffusers, {count}"):
            measure_plain(run, pipeline, family.pixels, count)
    run.models.park(name)


def measure_ours(run: Run, loader: ModelLoader, name: str, pixels: int, count: int) -> None:
    make_ours(loader, name, pixels, count, 2)
    hooks = Hooks()
    taken = run.seconds(lambda: make_ours(loader, name, pixels, count, run.steps, hooks))
    phases = {phase: round(seconds, 4) for phase, seconds in hooks.phases.items() if phase != "load"}
    told = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in phases.items())
    run.table.add(f"ours, {count}", f"{taken:7.2f} s  {count / taken:6.2f}/s  ({told})", seconds=taken, phases=phases)


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


# ---------------------------------------------------------------- small memories


def small_memories(run: Run) -> None:
    """Four pictures on a device that has only so much memory: what was done about it, and what it cost."""
    for gigabytes in MEMORIES:
        limited = "" if run.device.type == "cuda" else " (no CUDA: nothing is limited)"
        run.table.start(f"{gigabytes} GB of memory, four pictures{limited}")
        for name, family in run.models.families.items():
            pixels, hooks = family.large or family.pixels, Hooks()
            row = f"{name} {pixels}×{pixels}"
            with run.going_on(row):
                taken, error = make_within(run, gigabytes * 10**9, name, pixels, hooks)
                told = f"{taken:7.2f} s  {error or 'made'} {' '.join(hooks.warnings)}"
                run.table.add(row, told, seconds=taken, error=error, notes=hooks.warnings)


def make_within(run: Run, memory: int, name: str, pixels: int, hooks: Hooks) -> tuple[float, str]:
    """Seconds, and what it failed with or ""."""
    run.models.park(name)
    loader, error = run.models.loader(memory), ""
    limit_memory(run.device, memory)
    started = time.perf_counter()
    try:
        make_ours(loader, name, pixels, 4, min(run.steps, LADDER_STEPS), hooks)
    except DarkroomError as failed:
        error = failed.detail
    finally:
        taken = time.perf_counter() - started
        limit_memory(run.device, run.device.memory_total)
        loader.unload(name)
        run.models.park(name)
    return taken, error


def limit_memory(device: Device, size: float) -> None:
    if device.type == "cuda":
        device.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, size / device.memory_total))


# ---------------------------------------------------------------- the command

PARTS: dict[str, Callable[[Run], None]] = {
    "sd15": lambda run: pictures(run, "sd15"),
    "sdxl": lambda run: pictures(run, "sdxl"),
    "unet": unets,
    "vae": vaes,
    "ladder": small_memories,
    "chat": chats,
}


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    device = probe_device("auto")
    table = Table()
    describe(table, device)
    with tempfile.TemporaryDirectory(prefix="darkroom-gpu-") as folder:
        run = Run(Models(device, Path(folder), options.tiny), table, options)
        for name in options.only:
            started = time.perf_counter()
            with run.going_on(name):
                PARTS[name](run)
            print(f"  ({name} took {time.perf_counter() - started:.0f} s)", flush=True)
    if options.json:
        options.json.write_text(json.dumps(table.parts, indent=1))
    return int(run.failed)


def read_options(arguments: list[str] | None) -> Namespace:
    parser = ArgumentParser(prog="benchmarks.gpu", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=chosen_parts, default=list(PARTS), metavar="PART[,PART]", help=", ".join(PARTS))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--tiny", action="store_true", help="small models, a few steps: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    return parser.parse_args(arguments)


def chosen_parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - PARTS.keys():
        raise ArgumentTypeError(f"no part {min(unknown)}; there are {', '.join(PARTS)}")
    return names


def describe(table: Table, device: Device) -> None:
    table.start("machine")
    table.add(
        "device", f"{device.type}: {device.name}, {device.memory_total / 1e9:.0f} GB, models in {dtype_name(device.dtype)}"
    )
    table.add("software", f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}")


if __name__ == "__main__":
    sys.exit(main())
