"""Splits a transformers model into the parts of the hub's ONNX layout, with fused attention operators.  [torch]

Attention is written as onnxruntime's GroupQueryAttention (caches in, longer caches out, rows of any length) and, where every place
sees every other, MultiHeadAttention. transformers calls whatever function is registered under an implementation's name, so one
function here serves all architectures that go through its attention interface.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import Cache
from transformers.masking_utils import AttentionMaskInterface

from api.catalog import ONNX_FAMILIES
from api.loading.onnx import PAST, PRESENT

IMPLEMENTATION = "darkroom_onnx"
VISION_MODEL_TYPES = ("idefics3", "smolvlm")
"""Architectures with pictures whose vision part is known here."""
ROWS, NEW, OLD = 2, 3, 5
"""Sizes of the example that is traced; every one of them may be another later."""


class UnknownArchitecture(Exception):
    """In a sentence."""


@dataclass
class ExportPart:
    """What is traced: a module, an example of its inputs, and which of their axes may have any size."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    axes: list[dict[int, str]]
    outputs: list[str]


def split_model(model: Any, *, half: bool = False) -> list[ExportPart]:
    """Raises UnknownArchitecture. The model is changed: its attention can only be traced from then on."""
    kind, config = model.config.model_type, model.config.get_text_config(decoder=True)
    if kind not in ONNX_FAMILIES:
        known = ", ".join(ONNX_FAMILIES)
        raise UnknownArchitecture(f"The architecture {kind} can't be written as ONNX here; these can: {known}.")
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings and getattr(config, "use_sliding_window", True):
        raise UnknownArchitecture(
            f"Its attention has a sliding window of {window} tokens, which can't be written as ONNX here."
        )
    vision = [vision_part(model)] if kind in VISION_MODEL_TYPES else []  # before its attention is replaced: it runs once
    model.set_attn_implementation(IMPLEMENTATION)
    model = model.half() if half else model
    if half and vision:
        vision[0].inputs = {name: value.half() for name, value in vision[0].inputs.items()}
        vision[0].module.half()
    return [*vision, *text_parts(model, split=bool(vision))]


# ---------------------------------------------------------------- pictures


class VisionEncoder(nn.Module):
    """Idefics3: square tiles without padding, as its processor makes them. (rows, tiles, 3, side, side) → (all tiles, places, width).

    The convolution over patches is written as the matrix product that it is: that is quantised with the others.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        base = model.model
        self.encoder, self.norm, self.connector = (
            base.vision_model.encoder,
            base.vision_model.post_layernorm,
            base.connector,
        )
        embeddings = base.vision_model.embeddings
        convolution = embeddings.patch_embedding
        self.patch, self.channels = embeddings.patch_size, convolution.in_channels
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1).T.contiguous(), requires_grad=False)
        self.side = side = model.config.vision_config.image_size // self.patch
        empty = torch.zeros(1, self.channels, side * self.patch, side * self.patch)
        with torch.no_grad():  # the bias, with each place's position
            self.register_buffer("places", embeddings(empty, torch.ones(1, side, side, dtype=torch.bool)))

    def forward(self, pixel_values: Tensor) -> Tensor:
        tiles = pixel_values.flatten(0, 1)
        side, patch = self.side, self.patch
        patches = tiles.reshape(-1, self.channels, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        flat = patches.reshape(-1, side * side, self.weight.shape[0])
        seen = self.encoder(inputs_embeds=flat @ self.weight + self.get_buffer("places"), attention_mask=None).last_hidden_state
        return self.connector(self.norm(seen))  # type: ignore[no-any-return]


def vision_part(model: Any) -> ExportPart:
    side, channels = model.config.vision_config.image_size, model.config.vision_config.num_channels
    example = {"pixel_values": torch.zeros(ROWS, NEW, channels, side, side)}
    return ExportPart("vision_encoder", VisionEncoder(model), example, [{0: "rows", 1: "tiles"}], ["image_features"])


# ---------------------------------------------------------------- text


class TracedCache(Cache):
    """The KV cache while tracing: returns only the new keys and values; the fused operator appends them."""

    def __init__(self, past: tuple[Tensor, ...], mask: Tensor) -> None:
        super().__init__(layers=[])
        self.past = list(zip(past[::2], past[1::2], strict=True))
        self.present: list[Any] = [None] * len(self.past)
        self.lengths = (mask.sum(-1, keepdim=True) - 1).to(torch.int32)
        self.total = torch.scalar_tensor(mask.shape[1], dtype=torch.int32)

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return query_length, 0


class Decoder(nn.Module):
    def __init__(self, model: Any, *, takes_tokens: bool) -> None:
        super().__init__()
        self.model, self.takes = model, "input_ids" if takes_tokens else "inputs_embeds"

    def forward(self, inputs: Tensor, attention_mask: Tensor, position_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = TracedCache(past, attention_mask)
        with tracing(cache):
            output = self.model(
                **{self.takes: inputs}, position_ids=position_ids, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        return output.logits.float(), *(states for pair in cache.present for states in pair)


def text_parts(model: Any, *, split: bool) -> list[ExportPart]:
    """embed_tokens and decoder_model_merged; without `split` one model that takes tokens."""
    head = model.get_output_embeddings()
    head.weight = nn.Parameter(
        head.weight.detach().clone(), requires_grad=False
    )  # what is tied can't be packed for both of its uses
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokens = torch.zeros(ROWS, NEW, dtype=torch.long)
    example = torch.zeros(ROWS, NEW, config.hidden_size, dtype=model.dtype) if split else tokens
    pairs = [f"{layer}.{kind}" for layer in range(config.num_hidden_layers) for kind in ("key", "value")]
    inputs = {
        "inputs_embeds" if split else "input_ids": example,
        "attention_mask": torch.ones(ROWS, OLD + NEW, dtype=torch.long),
        "position_ids": torch.arange(OLD, OLD + NEW).repeat(ROWS, 1),
        **{PAST + pair: torch.zeros(ROWS, heads, OLD, size, dtype=model.dtype) for pair in pairs},
    }
    axes = [{0: "rows", 1: "new"}, {0: "rows", 1: "total"}, {0: "rows", 1: "new"}, *({0: "rows", 2: "past"} for _ in pairs)]
    decoder = ExportPart(
        "decoder_model_merged" if split else "model",
        Decoder(model, takes_tokens=not split),
        inputs,
        axes,
        ["logits", *(PRESENT + pair for pair in pairs)],
    )
    if not split:
        return [decoder]
    embedding = ExportPart(
        "embed_tokens", model.get_input_embeddings(), {"input_ids": tokens}, [{0: "rows", 1: "new"}], ["inputs_embeds"]
    )
    return [embedding, decoder]


# ---------------------------------------------------------------- attention

_traced_caches: list[TracedCache] = []  # of the decoder that is being traced


@contextmanager
def tracing(cache: TracedCache) -> Iterator[None]:
    _traced_caches.append(cache)
    try:
        yield
    finally:
        _traced_caches.pop()


def fused_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float | None = None, **kwargs: Any
) -> tuple[Tensor, None]:
    """query (rows, heads, new, size) → (rows, new, heads, size)"""
    rows, heads, new, size = query.shape
    flat = [states.transpose(1, 2).reshape(rows, new, -1) for states in (query, key, value)]
    attributes: dict[str, Any] = {"num_heads": heads, "scale": float(scaling or size**-0.5)}
    if not _traced_caches:
        seen = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention", flat, attributes, dtype=query.dtype, shape=flat[0].shape, version=1
        )
        return seen.reshape(rows, new, heads, size), None
    cache = _traced_caches[-1]
    past = cache.past[module.layer_idx]
    grown = (rows, key.shape[1], past[0].shape[2] + new, size)
    seen, *present = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*flat, *past, cache.lengths, cache.total],
        {**attributes, "kv_num_heads": key.shape[1]},
        dtypes=[query.dtype] * 3,
        shapes=[flat[0].shape, grown, grown],
        version=1,
    )
    cache.present[module.layer_idx] = present
    return seen.reshape(rows, new, heads, size), None


AttentionInterface.register(IMPLEMENTATION, fused_attention)
AttentionMaskInterface.register(IMPLEMENTATION, lambda *args, **kwargs: None)
