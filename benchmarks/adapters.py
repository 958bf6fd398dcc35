"""LoRA adapters put on a model of Stable Diffusion 1.5's size and taken off again, beside diffusers' own loading; and a pass with them.

    OMP_NUM_THREADS=2 python -m benchmarks.adapters [--runs 3]

The weights are random, in bf16, and the files are written by this script: every linear layer of the attentions of the UNet and of the
text encoder, in kohya's names. What is loaded once more is in the system's cache, for both. PEFT's layers are diffusers'.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import parser, prepare, print_machine, print_table

RANKS = (8, 32, 128)
LATENT_SIDE = 16
ATTENTIONS = ("attn1", "attn2", "ff.net", "proj_in", "proj_out", "self_attn", "mlp")


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--runs", type=int, default=3)
    options = made.parse_args()
    print_machine(prepare(options))
    pipeline = build_pipeline()
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(pipeline, Path(folder))
        print_table(
            "Seconds to put it on / to take it off (median)", [row(pipeline, *item, options.runs) for item in files.items()]
        )
        print_table(
            f"A pass of the UNet, latents of {LATENT_SIDE}², ms (median)", measure_passes(pipeline, files, options.runs)
        )


def build_pipeline() -> Any:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    width = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    encoder = CLIPTextModel(CLIPTextConfig(**width))
    torch.set_default_dtype(torch.float32)
    parts = {"vae": None, "tokenizer": None, "safety_checker": None, "feature_extractor": None}
    return StableDiffusionPipeline(
        unet=unet, text_encoder=encoder, scheduler=DDIMScheduler(), requires_safety_checker=False, **parts
    )


def write_files(pipeline: Any, folder: Path) -> dict[str, Path]:
    import torch
    from safetensors.torch import save_file

    layers = {
        f"{prefix}_{name.replace('.', '_')}": child.weight
        for prefix, module in (("lora_unet", pipeline.unet), ("lora_te", pipeline.text_encoder))
        for name, child in module.named_modules()
        if isinstance(child, torch.nn.Linear) and any(part in name for part in ATTENTIONS)
    }
    layers = {name.replace("lora_te_encoder", "lora_te_text_model_encoder"): weight for name, weight in layers.items()}
    kinds = {f"LoRA, rank {rank}": lora_parts(rank) for rank in RANKS}
    kinds |= {"LoHa, rank 8": loha_parts, "LoKr, factor 16": lokr_parts, "full": lambda weight: {"diff": weight * 0.01}}
    files = {}
    for number, (kind, parts) in enumerate(kinds.items()):
        files[kind] = folder / f"{number}.safetensors"
        tensors = {f"{name}.{end}": part for name, weight in layers.items() for end, part in parts(weight).items()}
        save_file({name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}, files[kind])
    return files


def lora_parts(rank: int) -> Callable[[Any], dict[str, Any]]:
    import torch

    def parts(weight: Any) -> dict[str, Any]:
        outputs, inputs = weight.shape
        factors = {"lora_down.weight": torch.randn(rank, inputs) * 0.1, "lora_up.weight": torch.randn(outputs, rank) * 0.1}
        return {**factors, "alpha": torch.tensor(rank / 2)}

    return parts


def loha_parts(weight: Any) -> dict[str, Any]:
    import torch

    outputs, inputs = weight.shape
    shapes = {"hada_w1_a": (outputs, 8), "hada_w1_b": (8, inputs), "hada_w2_a": (outputs, 8), "hada_w2_b": (8, inputs)}
    return {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}


def lokr_parts(weight: Any) -> dict[str, Any]:
    import torch

    outputs, inputs = weight.shape
    return {"lokr_w1": torch.randn(16, 16) * 0.1, "lokr_w2": torch.randn(outputs // 16, inputs // 16) * 0.1}


def row(pipeline: Any, kind: str, file: Path, runs: int) -> tuple[str, str]:
    ours = [put_on_ours(pipeline, [file]) for _ in range(runs)]
    told = f"ours {median(ours, 0):.2f} / {median(ours, 1):.3f}"
    if not kind.startswith("LoRA"):
        return kind, f"{told}   diffusers refuses it"
    theirs = [put_on_theirs(pipeline, [file]) for _ in range(runs)]
    return kind, f"{told}   diffusers {median(theirs, 0):.2f} / {median(theirs, 1):.3f}"


def median(runs: list[tuple[float, float]], place: int) -> float:
    return statistics.median(run[place] for run in runs)


def put_on_ours(pipeline: Any, files: list[Path], between: Callable[[], None] = lambda: None) -> tuple[float, float]:
    from api.images.backends.adapters import apply_adapters, remove_adapters
    from api.images.backends.lora_changes import Lora

    loras = [Lora(file.stem, file, 0.8) for file in files]
    return timed(lambda: apply_adapters(pipeline, loras), between, lambda: remove_adapters(pipeline))


def put_on_theirs(pipeline: Any, files: list[Path], between: Callable[[], None] = lambda: None) -> tuple[float, float]:
    def put_on() -> None:
        names = [f"adapter_{number}" for number in range(len(files))]
        for file, name in zip(files, names, strict=True):
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
        pipeline.set_adapters(names, adapter_weights=[0.8 for _ in names])

    return timed(put_on, between, pipeline.unload_lora_weights)


def timed(put_on: Callable[[], Any], between: Callable[[], None], take_off: Callable[[], Any]) -> tuple[float, float]:
    started = time.perf_counter()
    put_on()
    ready = time.perf_counter()
    between()
    stopped = time.perf_counter()
    take_off()
    return ready - started, time.perf_counter() - stopped


def measure_passes(pipeline: Any, files: dict[str, Path], runs: int) -> list[tuple[str, str]]:
    import torch

    latents, text = torch.randn(2, 4, LATENT_SIDE, LATENT_SIDE).bfloat16(), torch.randn(2, 77, 768).bfloat16()
    spent: dict[str, list[float]] = {}

    def pass_as(name: str) -> None:
        for _ in range(runs + 1):
            started = time.perf_counter()
            with torch.no_grad():
                pipeline.unet(latents, 500, text)
            spent.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    first, second, *_ = (file for kind, file in files.items() if kind.startswith("LoRA"))
    pass_as("without")
    for chosen, name in (([first], "one LoRA"), ([first, second], "two LoRAs")):
        put_on_ours(pipeline, chosen, lambda name=name: pass_as(f"{name}, ours"))  # type: ignore[misc]
        put_on_theirs(pipeline, chosen, lambda name=name: pass_as(f"{name}, PEFT"))  # type: ignore[misc]
    put_on_ours(pipeline, [files["LoKr, factor 16"]], lambda: pass_as("a LoKr, ours"))
    return [(name, f"{statistics.median(times[1:]):.0f}") for name, times in spent.items()]


if __name__ == "__main__":
    main()
