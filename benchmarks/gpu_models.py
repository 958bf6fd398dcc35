"""Models for `benchmarks.gpu`: the architectures at full size with random weights, made on the device; and in small.  [torch; no Django]

They stay in main memory between two parts of the benchmark, as weights do that were just read from disk.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.loading.builders import Builder, register_builder
from api.loading.device_memory import modules_of, weight_bytes
from api.loading.dtypes import choose_dtypes
from api.loading.model_leases import USUAL, DenoiserOptions
from api.loading.pipelines import TASKS, pipeline_for_task, prepare_pipeline
from api.model_loader import ModelLoader

TOKENIZER = Path(__file__).parent.parent / "api" / "starter" / "weights" / "starter" / "tokenizer"
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CROSS, PLAIN = "CrossAttn{}Block2D", "{}Block2D"
TEXT_1 = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
TEXT_2 = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SMALL_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def blocks(kinds: str) -> dict[str, Any]:
    """Of a UNet, from the largest maps to the smallest: "x" attends, "-" does not."""
    names = [CROSS if kind == "x" else PLAIN for kind in kinds]
    return {
        "down_block_types": tuple(name.format("Down") for name in names),
        "up_block_types": tuple(name.format("Up") for name in reversed(names)),
    }


def embedding(channels: int, pooled: int) -> dict[str, Any]:
    """SDXL's: of the picture's sizes and a summary of the prompt."""
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": channels,
        "projection_class_embeddings_input_dim": pooled + 6 * channels,
    }


@dataclass(frozen=True)
class Family:
    id: str
    family: str
    pixels: int
    unet: dict[str, Any]
    vae: dict[str, Any]
    texts: tuple[dict[str, Any], ...]
    large: int = 0
    """The side of pictures that don't fit a small memory; 0: the usual one."""

    @property
    def is_xl(self) -> bool:
        return self.family == "sdxl"


VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "scaling_factor": 0.18215}
SMALL_VAE = {"block_out_channels": (32, 32, 64, 64), "layers_per_block": 1, "norm_num_groups": 8}
SMALL_UNET = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "sample_size": 8,
}
FULL = {
    "sd15": Family(
        "sd15", "sd1", 512, {**blocks("xxx-"), "cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}, VAE, (TEXT_1,),
        large=1536,
    ),
    "sdxl": Family(
        "sdxl", "sdxl", 1024,
        {
            **blocks("-xx"), "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20], "cross_attention_dim": 2048, "use_linear_projection": True, "sample_size": 128,
            **embedding(256, 1280),
        },
        VAE | {"scaling_factor": 0.13025}, (TEXT_1, TEXT_2),
    ),
}  # fmt: skip
TINY = {
    "sd15": Family("sd15", "sd1", 64, {**SMALL_UNET, **blocks("x-"), "cross_attention_dim": 32}, SMALL_VAE, (SMALL_TEXT,), large=128),
    "sdxl": Family(
        "sdxl", "sdxl", 64, {**SMALL_UNET, **blocks("-x"), "cross_attention_dim": 64, **embedding(8, 32)}, SMALL_VAE,
        (SMALL_TEXT, SMALL_TEXT),
    ),
}  # fmt: skip


@dataclass
class Models:
    """The pipelines, each made when it is first wanted, and one loader for all."""

    device: Device
    folder: Path
    tiny: bool

    def __post_init__(self) -> None:
        self.families = TINY if self.tiny else FULL
        self.pipeline = functools.cache(self._pipeline)
        entries = {}
        for family in self.families.values():
            path = self.folder / family.id
            (path / "vae").mkdir(parents=True)
            (path / "model_index.json").write_text(json.dumps({"_class_name": kind_of(family).__name__}))
            (path / "vae" / "config.json").write_text(json.dumps({"force_upcast": family.is_xl}))
            entries[family.id] = ModelEntry(id=family.id, name=family.id, family=family.family, path=path, max_batch=16)
        self.catalog = Catalog(entries, {})
        register_builder("text-to-image", Builder(self._build, self._estimate, pipeline_for_task, tuple(TASKS)))

    def loader(self, memory: int | None = None, options: DenoiserOptions = USUAL) -> ModelLoader:
        """`memory`: as if the device had so many bytes."""
        limit = memory and int(memory * 0.92)
        return ModelLoader(self.catalog, ModelStore(self.folder), self.device, limit, denoiser_options=options)

    def park(self, name: str) -> Any:
        """The pipeline, back in main memory and without hooks."""
        pipeline = self.pipeline(name)
        pipeline.remove_all_hooks()
        for module in modules_of(pipeline).values():
            module.to("cpu")
        self.device.empty_cache()
        return pipeline

    def on_device(self, name: str) -> Any:
        """In the layout that the loader gives them."""
        pipeline = self._laid_out(self.park(name))
        for module in modules_of(pipeline).values():
            module.to(self.device.torch_device)
        return pipeline

    def _laid_out(self, pipeline: Any) -> Any:
        layout = torch.channels_last if self.device.channels_last else torch.contiguous_format
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=layout)
        return pipeline

    def plain(self, name: str) -> Any:
        """What a script of a few lines has: everything in half precision, in the usual layout; the UNet and texts are the same ones."""
        family, ours, half = self.families[name], self.on_device(name), self.device.dtype
        for module in modules_of(ours).values():
            module.to(memory_format=torch.contiguous_format)
        vae = self.make(AutoencoderKL, **family.vae, **VAE_BLOCKS, force_upcast=family.is_xl).to(half)
        parts = {key: part for key, part in ours.components.items() if key not in {"vae", *EXTRAS[family.family]}}
        pipeline = kind_of(family)(**parts, vae=vae, **EXTRAS[family.family])
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def make(self, kind: Any, config: Any = None, **fields: Any) -> torch.nn.Module:
        """On the device, where filling it with numbers takes no time."""
        torch.manual_seed(0)
        with torch.device(self.device.torch_device):
            made = kind(config) if config is not None else kind(**fields)
        return made.eval().requires_grad_(False)  # type: ignore[no-any-return]

    def _pipeline(self, name: str) -> Any:
        family = self.families[name]
        folder = self.catalog.get(name).path
        assert folder is not None
        dtypes = choose_dtypes(folder, self.device)
        tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
        ends = {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        parts: dict[str, Any] = {"tokenizer": tokenizer}
        for number, text in enumerate(family.texts):
            kind = CLIPTextModelWithProjection if number else CLIPTextModel
            config = CLIPTextConfig(**text, **ends, vocab_size=49408, projection_dim=text["hidden_size"])
            parts["text_encoder" + "_2" * number] = self.make(kind, config)
        parts["unet"] = self.make(UNet2DConditionModel, **family.unet)
        parts["vae"] = self.make(AutoencoderKL, **family.vae, **VAE_BLOCKS, force_upcast=family.is_xl)
        for key, part in parts.items():
            if isinstance(part, torch.nn.Module):
                part.to("cpu", dtypes.get(key, dtypes["default"]))
        if family.is_xl:
            parts |= {"tokenizer_2": tokenizer, "scheduler": EulerDiscreteScheduler(**NOISE, timestep_spacing="leading")}
        else:
            parts["scheduler"] = DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False)
        return prepare_pipeline(kind_of(family)(**parts, **EXTRAS[family.family]), self.device)

    def _build(self, entry: ModelEntry, folder: Path, device: Device) -> Any:
        return self._laid_out(self.park(entry.id))

    def _estimate(self, entry: ModelEntry, folder: Path, device: Device) -> int:
        return weight_bytes(self.pipeline(entry.id))


VAE_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "latent_channels": 4, "sample_size": 512,
}  # fmt: skip
EXTRAS: dict[str, dict[str, Any]] = {
    "sd1": {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    "sdxl": {"add_watermarker": False},
}


def kind_of(family: Family) -> Any:
    return StableDiffusionXLPipeline if family.is_xl else StableDiffusionPipeline
