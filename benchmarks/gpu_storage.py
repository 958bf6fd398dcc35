"""`benchmarks.gpu --only storage`: a FLUX transformer's weights as they can be kept: bytes, speed, how far its output is off.  [torch]"""

from __future__ import annotations

import gc
from typing import Any

import torch
from diffusers import FluxTransformer2DModel

from api.catalog.storages import STORAGES, measure_of, why_no_storage
from api.loading.device_memory import apply_measure, readable_size, weight_bytes
from benchmarks.gpu_run import Run

SMALL = {
    "in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 4,
    "joint_attention_dim": 64, "pooled_projection_dim": 32, "axes_dims_rope": (4, 4, 8),
}  # fmt: skip
PIXELS_OF_TOKEN = 16
LAYERS = "layer by layer"


@torch.inference_mode()
def storages(run: Run) -> None:
    side = 64 if run.tiny else 1024
    run.table.start(f"a transformer of FLUX's {'shape in small' if run.tiny else 'size'}, {side}×{side}, one picture a pass")
    exact: list[torch.Tensor] = []
    for storage in ("", *STORAGES):
        if missing := why_no_storage(storage):
            run.table.add(storage, f"not here: {missing}", missing=missing)
            continue
        with run.going_on(storage or "bf16"):
            measure_storage(run, storage, side, exact)
    with run.going_on(LAYERS):
        measure_layers(run, side)


def measure_storage(run: Run, storage: str, side: int, exact: list[torch.Tensor]) -> None:
    """`exact` is filled by the first, whose weights are whole."""
    model, figures = make_transformer(run), dict[str, Any]()
    parts = {"transformer": model}
    if storage:
        figures["packing_s"] = run.seconds(lambda: apply_measure(measure_of(storage), parts, run.device))
    model.to(run.device.torch_device)
    inputs = inputs_of(run, model, side)
    peak_bytes(run)
    output = model(**inputs, return_dict=False)[0].float()
    exact += [] if exact else [output]
    figures |= {
        "bytes": weight_bytes(parts),
        "peak_bytes": peak_bytes(run),
        "ms_each": run.each(lambda: model(**inputs, return_dict=False)) * 1000,
    }
    noise = float(((output - exact[0]) ** 2).mean())
    figures["decibels"] = 10 * float(torch.log10((exact[0] ** 2).mean() / noise)) if noise else None
    told = f"{readable_size(figures['bytes']):>9}{told_peak(figures)}, {figures['ms_each']:8.1f} ms a pass"
    told += f", {figures['decibels']:5.1f} dB" if noise else ""
    told += f", packed in {figures['packing_s']:.1f} s" if storage else ""
    run.table.add(storage or "bf16", told, **figures)


def measure_layers(run: Run, side: int) -> None:
    """The memory measure group_offload: bf16 in main memory, the next layer brought while one computes."""
    model = make_transformer(run).to("cpu")
    use_stream = run.device.type == "cuda"
    model.enable_group_offload(
        onload_device=run.device.torch_device, offload_type="leaf_level", use_stream=use_stream, low_cpu_mem_usage=True
    )
    inputs = inputs_of(run, model, side)
    peak_bytes(run)
    model(**inputs, return_dict=False)
    figures = {"peak_bytes": peak_bytes(run), "ms_each": run.each(lambda: model(**inputs, return_dict=False)) * 1000}
    run.table.add(f"bf16, {LAYERS}", f"{'':>9}{told_peak(figures)}  {figures['ms_each']:8.1f} ms a pass", **figures)


def told_peak(figures: dict[str, Any]) -> str:
    return f", with a pass {readable_size(figures['peak_bytes'])}" if figures["peak_bytes"] else ""


def make_transformer(run: Run) -> Any:
    gc.collect()
    run.device.empty_cache()
    torch.manual_seed(0)
    with torch.device(run.device.torch_device):
        model = FluxTransformer2DModel(**SMALL) if run.tiny else FluxTransformer2DModel()
    return model.to(torch.bfloat16).eval().requires_grad_(False)


def inputs_of(run: Run, model: Any, side: int) -> dict[str, Any]:
    tokens, words = (side // PIXELS_OF_TOKEN) ** 2, 16 if run.tiny else 512
    made: dict[str, Any] = {"device": run.device.torch_device, "dtype": torch.bfloat16}
    torch.manual_seed(1)
    return {
        "hidden_states": torch.randn(1, tokens, model.config.in_channels, **made),
        "encoder_hidden_states": torch.randn(1, words, model.config.joint_attention_dim, **made),
        "pooled_projections": torch.randn(1, model.config.pooled_projection_dim, **made),
        "timestep": torch.full((1,), 0.5, **made),
        "img_ids": torch.zeros(tokens, 3, **made),
        "txt_ids": torch.zeros(words, 3, **made),
    }


def peak_bytes(run: Run) -> int:
    """On the device since it was last asked; 0 on others than CUDA."""
    if run.device.type != "cuda":
        return 0
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak
