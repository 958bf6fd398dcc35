"""A part of `benchmarks.gpu`: the UNet and the VAE alone, without a pipeline.  [torch; no Django]"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from api.devices import dtype_name
from benchmarks.cuda_graph import Graphed
from benchmarks.gpu_models import Family
from benchmarks.gpu_run import Run

ROWS, DECODED = (2, 8, 32), (1, 4)


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
    told, started = f"eager {figures['eager_ms']:7.1f}", time.perf_counter()
    graph = Graphed(forward, inputs)
    figures["capture_s"] = time.perf_counter() - started
    if graph.error:
        told += f"   no graph: {graph.error.splitlines()[0][:60]}"
        figures["graph_error"] = graph.error
    else:
        figures["graph_ms"] = run.each(lambda: graph(**inputs)) * 1000
        figures["largest_difference"] = float((graph(**inputs) - forward(**inputs)).abs().max())
        told += f"   graph {figures['graph_ms']:7.1f}   (captured in {figures['capture_s']:.2f} s,"
        told += f" outputs differ by {figures['largest_difference']:.1g})"
    run.table.add(f"{rows} rows", told, **figures)


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
