"""A UNet's cross-attention with image prompts: what each row's own add, in passes that rows without any share.  [torch]"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as functional

ARGUMENT = "ip_hidden_states"
"""Of a UNet's `cross_attention_kwargs`: diffusers says nothing where another attention doesn't take it."""
LayerPair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one cross-attention, (n, tokens, width) each."""


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """One image prompt of a row."""

    weight: torch.Tensor
    """(1, 1, 1)."""
    positive: list[LayerPair]
    """Keys and values (1, tokens, width) for each cross-attention."""
    negative: list[LayerPair] | None
    """None without classifier-free guidance."""

    @property
    def tokens(self) -> int:
        return self.positive[0][0].shape[1]


JoinedPrompt = tuple[torch.Tensor, list[LayerPair]]
"""For all entries of a UNet batch: weights (n, 1, 1), 0 for those without this prompt, and keys and values for each cross-attention."""


def join_image_prompts(prompts: Sequence[Sequence[ImagePrompt]], places: Sequence[int], guided: int) -> list[JoinedPrompt]:
    """`prompts`: of each row; `places`: of each entry, which row it is of, the first `guided` as its negative. [] where no row has any.

    What a row has is added in its own order, whatever the others have. Prompts of unequal length can't be joined.
    """
    columns = sorted({(number, prompt.tokens) for found in prompts for number, prompt in enumerate(found)})
    return [join_column(number, tokens, [prompts[place] for place in places], guided) for number, tokens in columns]


def join_column(number: int, tokens: int, prompts: Sequence[Sequence[ImagePrompt]], guided: int) -> JoinedPrompt:
    chosen = [found[number] if len(found) > number and found[number].tokens == tokens else None for found in prompts]
    sample = next(prompt for prompt in chosen if prompt is not None)
    nothing = [(torch.zeros_like(key), torch.zeros_like(value)) for key, value in sample.positive]
    entries = [
        nothing if prompt is None else (prompt.negative or nothing if place < guided else prompt.positive)
        for place, prompt in enumerate(chosen)
    ]
    no_weight = torch.zeros_like(sample.weight)
    weights = [no_weight if prompt is None else prompt.weight for prompt in chosen]
    pairs = [
        (torch.cat([keys for keys, _ in layer]), torch.cat([values for _, values in layer]))
        for layer in zip(*entries, strict=True)
    ]
    return torch.cat(weights), pairs


# ---------------------------------------------------------------- the UNet's attention


class ImagePromptAttention:
    """A UNet's cross-attention, and what image prompts add before its last projection: diffusers' IPAdapterAttnProcessor2_0, with the keys
    and values given, and a weight for each entry.
    """

    def __init__(self, layer: int) -> None:
        self._layer = layer

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        ip_hidden_states: Sequence[JoinedPrompt] = (),
    ) -> torch.Tensor:
        query = by_head(attn.to_q(hidden_states), attn.heads)
        key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        hidden_states = attend(query, key, value, attn.heads, attention_mask)
        for weights, pairs in ip_hidden_states:
            hidden_states = hidden_states + weights * attend(query, *pairs[self._layer], attn.heads)
        return attn.to_out[1](attn.to_out[0](hidden_states))  # type: ignore[no-any-return]


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    found = functional.scaled_dot_product_attention(query, by_head(key, heads), by_head(value, heads), attn_mask=mask)
    return found.transpose(1, 2).flatten(2).to(query.dtype)


def by_head(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)


_layers: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
_processors: list[ImagePromptAttention] = []


def cross_attentions(unet: Any) -> list[Any]:
    """In the order in which IP-Adapters count them."""
    if unet not in _layers:
        names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
        _layers[unet] = [unet.get_submodule(name.removesuffix(".processor")) for name in names]
    return _layers[unet]


def as_written() -> AbstractContextManager[object]:
    """Inside, compiled blocks run as they are written: they would be compiled anew for every layer, up to 70 times."""
    is_in_use = "torch._dynamo" in sys.modules  # else nothing is compiled, and it takes seconds to import
    return torch.compiler.set_stance("force_eager") if is_in_use else nullcontext()


@contextmanager
def reading_image_prompts(unet: Any, *, wanted: bool) -> Iterator[None]:
    """Inside, the UNet takes image prompts; afterwards it is as it was."""
    if not wanted:
        yield
        return
    layers = cross_attentions(unet)
    while len(_processors) < len(layers):
        _processors.append(ImagePromptAttention(len(_processors)))
    before = [layer.processor for layer in layers]
    for layer, processor in zip(layers, _processors, strict=False):
        layer.processor = processor
    try:
        with as_written():
            yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = processor
