"""Chat checkpoints (transformers): language models, and those that also see pictures.  [torch; no Django]"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.snapshots import WEIGHTS
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import load_whole
from api.loading.memory import estimate_files

SEES = "image-text-to-text"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PACKED = {"int8": torch.int8, "int4": torch.int8}
"""For an estimate: 4 bits are packed by two, after they were read in 8."""
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
VIDEOS = "video_processor"
MEMORY = "memory"
"""Under this name `kept` has what serves to answer sooner, and can be done without."""


@dataclass
class ChatModel:
    """What a lease of a chat model gets as `pipeline`, whatever computes it."""

    model: Any
    """transformers' own, on the device and in its dtype; or an `OnnxModel` (api/loading/onnx.py)."""
    tokenizer: Any
    """A fast one: `backend_tokenizer` is the tokenizers library's."""
    processor: Any
    """Of a model that sees: text and pictures in, tensors out. None for a language model."""
    config: Any
    generation: GenerationConfig
    kept: dict[str, Any] = field(default_factory=dict)
    """What a backend makes of it once and needs again."""

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """What the loader moves and counts. Weights that bitsandbytes packed are where they stay."""
        return {} if getattr(self.model, "is_quantized", False) else {"model": self.model}

    @property
    def nbytes(self) -> int:
        """What the loader counts where it has nothing to move."""
        return (
            self.model.get_memory_footprint()
            if getattr(self.model, "is_quantized", False)
            else getattr(self.model, "nbytes", 0)
        )

    @property
    def spare_bytes(self) -> int:
        """What `forget` gives back."""
        return self.kept[MEMORY].nbytes if MEMORY in self.kept else 0

    def forget(self) -> None:
        """Memory is needed elsewhere."""
        if MEMORY in self.kept:
            self.kept[MEMORY].clear()

    @property
    def context(self) -> int:
        """Tokens that question and answer may have together."""
        config = self.config.get_text_config(decoder=True)
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_target_positions")]
        return int(next((limit for limit in limits if limit), 2048))

    @property
    def vocabulary(self) -> int:
        return int(self.config.get_text_config(decoder=True).vocab_size)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        given = self.generation.eos_token_id
        listed = given if isinstance(given, list) else [given]
        return tuple(dict.fromkeys(token for token in (*listed, self.tokenizer.eos_token_id) if token is not None))


def make_builder() -> Builder:
    return Builder(build=build_chat, estimate=estimate_bytes)


def build_chat(entry: ModelEntry, folder: Path, device: Device) -> ChatModel:
    """Load from the folder alone. Raises DarkroomError where the tokenizer has no fast form."""
    kind = AutoModelForImageTextToText if entry.task == SEES else AutoModelForCausalLM
    packed = {"quantization_config": packing(entry, device), "device_map": device.torch_device} if is_packed(entry) else {}
    dtype = choose_dtype(entry, folder, device)
    model = load_whole(kind, entry, folder, dtype=dtype, use_safetensors=True, **packed, **LOCAL)
    model = model.eval().requires_grad_(False)
    tokenizer, processor = read_words(entry, folder)
    return ChatModel(model, tokenizer, processor, model.config, model.generation_config)


def read_words(entry: ModelEntry, folder: Path) -> tuple[Any, Any]:
    """The tokenizer, and the processor of a model that sees. Raises DarkroomError where the tokenizer has no fast form."""
    processor = read_processor(folder) if entry.task == SEES else None
    tokenizer = processor.tokenizer if processor is not None else AutoTokenizer.from_pretrained(folder, **LOCAL)
    if not getattr(tokenizer, "is_fast", False):
        raise DarkroomError("broken_model", 422, f"{entry.name} has no tokenizer of the tokenizers library.")
    return tokenizer, processor


def read_processor(folder: Path) -> Any:
    """As AutoProcessor reads it, with Pillow's image processors; without what prepares videos, since that needs torchvision."""
    config = AutoConfig.from_pretrained(folder, **LOCAL)
    kind = PROCESSOR_MAPPING.get(type(config), None)
    if kind is None or VIDEOS not in kind.get_attributes():
        return AutoProcessor.from_pretrained(folder, **LOCAL)
    kept = [name for name in kind.get_attributes() if name != VIDEOS]
    silent: Any = type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda cls: kept)})
    return silent.from_pretrained(folder, **LOCAL)


def is_packed(entry: ModelEntry) -> bool:
    return entry.precision in ("int8", "int4")


def packing(entry: ModelEntry, device: Device) -> Any:
    """Weights in 8 or 4 bits, by bitsandbytes. Raises DarkroomError (precision_unavailable) where that can't be had."""
    if device.type != "cuda" or not find_spec("bitsandbytes"):
        lacks = "the package bitsandbytes is not installed" if device.type == "cuda" else f"this is a {device.type} device"
        detail = f"{entry.name} in {entry.precision} on PyTorch needs CUDA and bitsandbytes: {lacks}."
        raise DarkroomError("precision_unavailable", 400, detail)
    return BitsAndBytesConfig(load_in_8bit=entry.precision == "int8", load_in_4bit=entry.precision == "int4")


def choose_dtype(entry: ModelEntry, folder: Path, device: Device) -> torch.dtype:
    """The entry's; else the device's, with bf16 instead of fp16 for weights that were trained in bf16 and overflow in fp16."""
    if entry.precision in DTYPES:
        return DTYPES[entry.precision]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stored = {part.get("dtype") or part.get("torch_dtype") for part in (config, config.get("text_config") or {})}
    if device.dtype == torch.float16 and "bfloat16" in stored and device.is_fast(torch.bfloat16):
        return torch.bfloat16
    return device.dtype


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    files = [file for file in sorted(folder.glob("*.safetensors")) if WEIGHTS.fullmatch(file.name)]
    return estimate_files(entry, folder, files, PACKED.get(entry.precision) or choose_dtype(entry, folder, device))
