"""Chat checkpoints (transformers): language models, and those that also see pictures.  [torch; no Django]"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from inspect import Parameter, signature
from pathlib import Path
from types import FunctionType
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
from api.downloads.permitted_files import WEIGHTS
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import load_complete, read_json
from api.loading.device_memory import estimate_files
from api.loading.packed_weights import load_unpacked, unpacked_bytes
from api.model_files.quantization import UNPACKED, read_quantization

VISION_TASK = "image-text-to-text"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUANTIZED = {"int8": torch.int8, "int4": torch.int8}
"""For estimates: int4 is loaded as 8-bit first and then packed."""
LOCAL_ONLY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
VIDEO_PROCESSOR = "video_processor"
NO_CHAT = {"paligemma": "PaliGemma completes one prompt about one picture, and was not trained on dialogues"}
"""By model_type: why it is refused."""
PROMPT_CACHE = "memory"
"""The key of the prompt cache in `cached_objects`."""


@dataclass
class ChatModel:
    """`lease.pipeline` of a chat model, on PyTorch or ONNX."""

    model: Any
    """transformers' own, on the device and in its dtype; or an `OnnxModel` (api/loading/onnx.py)."""
    tokenizer: Any
    """A fast one: `backend_tokenizer` is the tokenizers library's."""
    processor: Any
    """Of a vision-language model: text and images in, tensors out. None for a language model."""
    config: Any
    generation: GenerationConfig
    cached_objects: dict[str, Any] = field(default_factory=dict)
    """Objects that a backend derives from the model once and reuses."""

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts; none for bitsandbytes, whose weights can't be moved."""
        return {} if getattr(self.model, "is_quantized", False) else {"model": self.model}

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, for models without `components`."""
        return (
            self.model.get_memory_footprint()
            if getattr(self.model, "is_quantized", False)
            else getattr(self.model, "nbytes", 0)
        )

    @property
    def cache_bytes(self) -> int:
        """Bytes that `clear_cache` frees."""
        return self.cached_objects[PROMPT_CACHE].nbytes if PROMPT_CACHE in self.cached_objects else 0

    def clear_cache(self) -> None:
        """Free the prompt cache."""
        if PROMPT_CACHE in self.cached_objects:
            self.cached_objects[PROMPT_CACHE].clear()

    @property
    def context_length(self) -> int:
        """The most tokens of prompt and answer together."""
        config = self.config.get_text_config(decoder=True)
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_target_positions")]
        return int(next((limit for limit in limits if limit), 2048))

    @property
    def vocabulary(self) -> int:
        return int(self.config.get_text_config(decoder=True).vocab_size)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a sequence."""
        eos = self.generation.eos_token_id
        listed = eos if isinstance(eos, list) else [eos]
        return tuple(dict.fromkeys(token for token in (*listed, self.tokenizer.eos_token_id) if token is not None))


def make_builder() -> Builder:
    return Builder(build=build_chat, estimate=estimate_bytes)


def build_chat(entry: ModelEntry, folder: Path, device: Device) -> ChatModel:
    """Load from the folder alone. Raises DarkroomError where the tokenizer has no fast form, or the model none for chats."""
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type in NO_CHAT:
        raise DarkroomError("unsupported_checkpoint", 422, f"{entry.name} can't be used for chats: {NO_CHAT[model_type]}.")
    model_class = AutoModelForImageTextToText if entry.task == VISION_TASK else AutoModelForCausalLM
    model = load_model(model_class, entry, folder, device).eval().requires_grad_(False)
    tokenizer, processor = load_tokenizer(entry, folder)
    return ChatModel(model, tokenizer, processor, model.config, model.generation_config)


def load_model(model_class: Any, entry: ModelEntry, folder: Path, device: Device) -> Any:
    """Raises DarkroomError."""
    dtype, found = choose_dtype(entry, folder, device), read_quantization(folder)
    if found and is_quantized(entry):
        detail = f"The weights of {entry.name} are quantised already, by {found.method}: leave out its precision."
        raise DarkroomError("precision_unavailable", 400, detail)
    if found and found.method in UNPACKED:
        return load_unpacked(model_class, entry, folder, weight_files(folder), found, dtype)
    options = (
        {"quantization_config": quantization_config(entry, device), "device_map": device.torch_device}
        if is_quantized(entry)
        else {}
    )
    return load_complete(model_class, entry, folder, dtype=dtype, use_safetensors=True, **options, **LOCAL_ONLY)


def load_tokenizer(entry: ModelEntry, folder: Path) -> tuple[Any, Any]:
    """The tokenizer, and the processor of a model that sees. Raises DarkroomError where the tokenizer has no fast form."""
    processor = load_processor(folder) if entry.task == VISION_TASK else None
    tokenizer = processor.tokenizer if processor is not None else AutoTokenizer.from_pretrained(folder, **LOCAL_ONLY)
    if not getattr(tokenizer, "is_fast", False):
        raise DarkroomError("broken_model", 422, f"{entry.name} has no tokenizer of the tokenizers library.")
    return tokenizer, processor


def load_processor(folder: Path) -> Any:
    """As AutoProcessor reads it, with Pillow's image processors; without what prepares videos, since that needs torchvision."""
    config = AutoConfig.from_pretrained(folder, **LOCAL_ONLY)
    model_class = PROCESSOR_MAPPING.get(type(config), None)
    if model_class is None or VIDEO_PROCESSOR not in model_class.get_attributes():
        return AutoProcessor.from_pretrained(folder, **LOCAL_ONLY)
    parts = [name for name in model_class.get_attributes() if name != VIDEO_PROCESSOR]
    changed: dict[str, Any] = {"get_attributes": classmethod(lambda cls: parts)}
    if signature(model_class.__init__).parameters[VIDEO_PROCESSOR].default is Parameter.empty:  # SmolVLM2's
        changed |= {"__init__": with_default(model_class.__init__), VIDEO_PROCESSOR: NoVideos()}
    without_video: Any = type(model_class.__name__, (model_class,), changed)
    return without_video.from_pretrained(folder, **LOCAL_ONLY)


class NoVideos:
    """What SmolVLM2's processor asks, for pictures too, of the part that prepares videos."""

    num_frames = fps = size = None


def with_default(function: Any) -> Any:
    """The same function, its last argument without a default being None. Not wrapped: transformers reads its code's argument names."""
    defaults = (None, *(function.__defaults__ or ()))
    return FunctionType(function.__code__, function.__globals__, function.__name__, defaults, function.__closure__)


def is_quantized(entry: ModelEntry) -> bool:
    return entry.precision in ("int8", "int4")


def quantization_config(entry: ModelEntry, device: Device) -> Any:
    """Weights in 8 or 4 bits, by bitsandbytes. Raises DarkroomError (precision_unavailable) where that can't be had."""
    if device.type != "cuda" or not find_spec("bitsandbytes"):
        missing = "the package bitsandbytes is not installed" if device.type == "cuda" else f"this is a {device.type} device"
        detail = f"{entry.name} in {entry.precision} on PyTorch needs CUDA and bitsandbytes: {missing}."
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
    dtype, found = QUANTIZED.get(entry.precision) or choose_dtype(entry, folder, device), read_quantization(folder)
    if found and found.method in UNPACKED:
        return estimate_files(entry, folder, weight_files(folder), dtype, partial(unpacked_bytes, found=found))
    return estimate_files(entry, folder, weight_files(folder), dtype)


def weight_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.safetensors")) if WEIGHTS.fullmatch(file.name)]
