"""Darkroom's engine on a GPU: with and without CUDA graphs, beside plain diffusers; UNet, VAE, small memories, weights in few bits, chats.
No Django.

    python -m benchmarks.gpu [--only sd15,sdxl,unet,vae,ladder,storage,chat] [--compile] [--json FILE]      # some minutes on an H200
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
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device, dtype_name, probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.engine.cuda_capture import CudaCapture
from api.images.backends.engine.graph_cache import GraphCache
from api.model_loader import ModelLoader
from benchmarks.gpu_models import Family, Models
from benchmarks.gpu_pictures import make_ours, pictures
from benchmarks.gpu_run import Hooks, Run, Table
from benchmarks.gpu_storage import storages

ROWS, DECODED, MEMORIES, CHATS = (2, 8, 32), (1, 4), (9, 5), (1, 8)
LADDER_STEPS = 10


# ---------------------------------------------------------------- modules alone


@torch.inference_mode()
def unets(run: Run) -> None:
    """One step's pass, launched from Python and as a graph. A picture with guidance is two rows."""
    for name, family in run.models.families.items():
        run.table.start(f"UNet of {name} alone, {family.pixels}×{family.pixels}, milliseconds a pass")
        pipeline = run.models.on_device(name)
        for rows in ROWS[:2] if family.is_xl else ROWS:
            with run.going_on(f"{rows} rows"):
                measure_unet(run, pipeline, family, rows)
            run.device.empty_cache()
        run.models.park(name)


def measure_unet(run: Run, pipeline: Any, family: Family, rows: int) -> None:
    inputs, forward = unet_inputs(run, pipeline, family, rows), forward_of(pipeline.unet)
    figures: dict[str, Any] = {"eager_ms": run.each(lambda: forward(**inputs)) * 1000}
    told, cache = f"eager {figures['eager_ms']:7.1f}", graph_cache(run, pipeline.unet)
    graph = lambda: cache.run(forward, (), inputs, pads_rows=True)  # noqa: E731
    graph()
    figures["capture_s"] = run.seconds(graph)
    figures |= cache.describe()
    if figures["captured"]:
        figures["graph_ms"] = run.each(graph) * 1000
        figures["largest_difference"] = float((graph() - forward(**inputs)).abs().max())
        told += (
            f"   graph {figures['graph_ms']:7.1f}   (captured in {figures['capture_s']:.2f} s, {figures['bytes'] / 1e9:.2f} GB,"
        )
        told += f" outputs differ by {figures['largest_difference']:.1g})"
    else:
        told += f"   no graph: {figures['error'][:60]}"
    run.table.add(f"{rows} rows", told, **figures)


def graph_cache(run: Run, unet: Any) -> GraphCache:
    cache = GraphCache(run.device.torch_device, CudaCapture(run.device.torch_device), run.device.memory_total)
    cache.fit(unet, None, [])
    return cache


def forward_of(unet: Any) -> Callable[..., torch.Tensor]:
    return lambda **inputs: unet(**inputs, return_dict=False)[0]


def unet_inputs(run: Run, pipeline: Any, family: Family, rows: int) -> dict[str, Any]:
    unet, side = pipeline.unet, family.pixels // pipeline.vae_scale_factor
    made = {"device": run.device.torch_device, "dtype": unet.dtype}
    inputs: dict[str, Any] = {
        "sample": torch.randn(rows, 4, side, side, **made),
        "timestep": torch.full((rows,), 500, device=made["device"]),
        "encoder_hidden_states": torch.randn(rows, 77, unet.config.cross_attention_dim, **made),
    }
    if family.is_xl:
        pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.randn(rows, pooled, **made),
            "time_ids": torch.ones(rows, 6, **made),
        }
    return inputs


@torch.inference_mode()
def vaes(run: Run) -> None:
    for name, family in run.models.families.items():
        run.table.start(f"VAE of {name} alone, {family.pixels}×{family.pixels}, milliseconds a picture")
        pipeline = run.models.on_device(name)
        for count in DECODED:
            with run.going_on(f"{count} at once"):
                measure_vae(run, pipeline, family, count)
        run.models.park(name)


def measure_vae(run: Run, pipeline: Any, family: Family, count: int) -> None:
    vae, side = pipeline.vae, family.pixels // pipeline.vae_scale_factor
    latents = torch.randn(count, 4, side, side, device=run.device.torch_device, dtype=vae.dtype)
    spent = run.each(lambda: vae.decode(latents, return_dict=False)) * 1000 / count
    run.table.add(f"{count} at once, {dtype_name(vae.dtype)}", f"{spent:7.1f}", ms_each=spent)


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


# ---------------------------------------------------------------- chats


def chats(run: Run) -> None:
    """SmolVLM-256M's size, a picture in each chat."""
    folder = run.models.folder / "vlm"
    build_chat_model(folder, run.tiny)
    for precision in ("bf16", "int8", "int4"):
        run.table.start(f"chats at SmolVLM-256M's size, {precision}")
        missing = "" if run.device.type == "cuda" else f"this is a {run.device.type} device"
        missing = missing or ("" if find_spec("bitsandbytes") else "the package bitsandbytes is not installed")
        if precision != "bf16" and missing:
            run.table.add("not measured", missing)
            continue
        entry = ModelEntry(id="vlm", name="vlm", task="image-text-to-text", path=folder, precision=precision)
        loader = ModelLoader(Catalog({"vlm": entry}, {}), ModelStore(folder), run.device)
        with run.going_on(precision):
            loader.load("vlm")
            for count in CHATS:
                talk(loader, count, 4)
                first, speed = talk(loader, count, 8 if run.tiny else 48)
                told = f"first token of all {first:6.2f} s, {speed:7.1f} tokens/s"
                run.table.add(f"{count} at once", told, first_token_s=first, tokens_per_s=speed)
            loader.unload("vlm")


def build_chat_model(folder: Path, tiny: bool) -> None:
    from benchmarks.chat import build
    from tests.models.tiny_chat import build_tiny_vlm

    if tiny:
        build_tiny_vlm(folder)
    else:
        build(folder)


def talk(loader: ModelLoader, count: int, tokens: int) -> tuple[float, float]:
    """Seconds until every chat has its first token, and tokens a second of all together from then on."""
    from PIL import Image

    from api.chat.backends.request import ChatRequest, MessagePart, Sampling, Turn
    from api.chat.backends.torch_backend import TorchBackend
    from benchmarks.chat import QUESTION, Deaf

    turn = Turn("user", (MessagePart(image=Image.effect_noise((512, 512), 80).convert("RGB")), MessagePart(text=QUESTION)))
    request = ChatRequest(model_id="vlm", turns=(turn,), sampling=Sampling(temperature=0.0, max_tokens=tokens + 8 * count))
    backend, started = TorchBackend(loader, "vlm"), time.perf_counter()
    for _ in range(count):
        backend.admit(request, Deaf())
    while len(backend.decode_loop.rows) < count and backend.step():
        pass
    begun, written = time.perf_counter(), 0
    while written < tokens and backend.rows == count:
        backend.step()
        written += 1
    return begun - started, written * count / (time.perf_counter() - begun)


# ---------------------------------------------------------------- the command

PARTS: dict[str, Callable[[Run], None]] = {
    "sd15": lambda run: pictures(run, "sd15"),
    "sdxl": lambda run: pictures(run, "sdxl"),
    "unet": unets,
    "vae": vaes,
    "ladder": small_memories,
    "storage": storages,
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
    parser.add_argument("--compile", action="store_true", help="the parts sd15 and sdxl also with compiled blocks")
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
