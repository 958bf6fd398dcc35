"""Adapters of every form, and what each makes of a weight by a second reading of its formula, which shares nothing with the first."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from api.images.backends.lora_keys import Layer, find_layers
from api.images.backends.lora_layers import LowRankLayer
from tests.backends.lora_files import Tensors, kohya, write

ALPHA, RANK = 3.0, 2
Made = tuple[Tensors, Callable[[torch.Tensor], torch.Tensor]]
"""The tensors of a file for one layer by the ends of their names; and what the weight becomes, by a reading of its own."""


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 0.3


def lora(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    down, up = draw(RANK, inputs, *kernel), draw(outputs, RANK, *(1 for _ in kernel))
    parts = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(ALPHA)}
    return parts, lambda w: w + torch.einsum("or,ri...->oi...", up.flatten(1), down) * ALPHA / RANK


def locon_cp(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    ones = [1 for _ in kernel]
    down, mid, up = draw(RANK, inputs, *ones), draw(RANK, RANK, *kernel), draw(outputs, RANK, *ones)
    parts = {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid, "alpha": torch.tensor(ALPHA)}
    change = torch.einsum("om,mn...,ni->oi...", up.flatten(1), mid, down.flatten(1))
    return parts, lambda w: w + change * ALPHA / RANK


def dora(weight: torch.Tensor, *, per_output: bool = True) -> Made:
    parts, change = lora(weight)
    axes = [axis for axis in range(weight.ndim) if axis != (0 if per_output else 1)]
    magnitude = weight.pow(2).sum(dim=axes, keepdim=True).sqrt() * 1.3

    def decomposed(w: torch.Tensor) -> torch.Tensor:
        changed = change(w)
        return magnitude * changed / changed.pow(2).sum(dim=axes, keepdim=True).sqrt()

    return {**parts, "dora_scale": magnitude}, decomposed


def dora_per_input(weight: torch.Tensor) -> Made:
    return dora(weight, per_output=False)


def loha(weight: torch.Tensor) -> Made:
    outputs, columns = weight.flatten(1).shape
    a, b, c, d = draw(outputs, RANK), draw(RANK, columns), draw(outputs, RANK), draw(RANK, columns)
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(ALPHA)}
    return parts, lambda w: w + ((a @ b) * (c @ d) * ALPHA / RANK).reshape(w.shape)


def loha_tucker(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    t1, a, b = draw(RANK, RANK, *kernel), draw(RANK, outputs), draw(RANK, inputs)
    t2, c, d = draw(RANK, RANK, *kernel), draw(RANK, outputs), draw(RANK, inputs)
    names = ("hada_t1", "hada_w1_a", "hada_w1_b", "hada_t2", "hada_w2_a", "hada_w2_b")
    parts = dict(zip(names, (t1, a, b, t2, c, d), strict=True))
    halves = [torch.einsum("io,ij...,jk->ok...", *one) for one in ((a, t1, b), (c, t2, d))]
    return {**parts, "alpha": torch.tensor(ALPHA)}, lambda w: w + halves[0] * halves[1] * ALPHA / RANK


def kronecker(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Block by block."""
    return torch.cat([torch.cat([value * second for value in row], dim=1) for row in first], dim=0)


def lokr(weight: torch.Tensor) -> Made:
    """Both factors whole: there is no scale, whatever alpha says."""
    outputs, inputs, *kernel = weight.shape
    first, second = draw(2, 2), draw(outputs // 2, inputs // 2, *kernel)
    return {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(ALPHA)}, lambda w: w + kronecker(first, second)


def lokr_factors(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    columns = weight[0].numel() // 2
    a, b, c, d = draw(2, RANK), draw(RANK, 2), draw(outputs // 2, RANK), draw(RANK, columns)
    parts = {"lokr_w1_a": a, "lokr_w1_b": b, "lokr_w2_a": c, "lokr_w2_b": d, "alpha": torch.tensor(ALPHA)}
    change = kronecker(a @ b, (c @ d).reshape(outputs // 2, inputs // 2, *kernel))
    return parts, lambda w: w + change * ALPHA / RANK


def lokr_tucker(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    first, core, a, b = draw(2, 2), draw(RANK, RANK, *kernel), draw(RANK, outputs // 2), draw(RANK, inputs // 2)
    parts = {"lokr_w1": first, "lokr_t2": core, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(ALPHA)}
    change = kronecker(first, torch.einsum("io,ij...,jk->ok...", a, core, b))
    return parts, lambda w: w + change * ALPHA / RANK


def full(weight: torch.Tensor) -> Made:
    change = draw(*weight.shape)
    return {"diff": change}, lambda w: w + change


def norm(weight: torch.Tensor) -> Made:
    change = draw(*weight.shape)
    return {"w_norm": change, "b_norm": draw(*weight.shape)}, lambda w: w + change


def ia3(weight: torch.Tensor) -> Made:
    values = draw(weight.shape[1])
    parts = {"weight": values, "on_input": torch.tensor(1)}
    return parts, lambda w: w * (1 + values.reshape(1, -1, *(1 for _ in w.shape[2:])))


def ia3_on_outputs(weight: torch.Tensor) -> Made:
    values = draw(weight.shape[0])
    parts = {"weight": values, "on_input": torch.tensor(0)}
    return parts, lambda w: w * (1 + values.reshape(-1, *(1 for _ in w.shape[1:])))


def glora(weight: torch.Tensor) -> Made:
    outputs, inputs, *kernel = weight.shape
    ones = [1 for _ in kernel]
    a1, a2 = draw(inputs, RANK, *ones), draw(RANK, inputs, *ones)
    b1, b2 = draw(outputs, RANK, *ones), draw(RANK, inputs, *kernel)
    parts = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2, "alpha": torch.tensor(ALPHA)}
    inner = a1.flatten(1) @ a2.flatten(1)

    def changed(w: torch.Tensor) -> torch.Tensor:
        mixed = torch.tensordot(w, inner, dims=([1], [0])).movedim(-1, 1)
        return w + (mixed + torch.einsum("or,ri...->oi...", b1.flatten(1), b2)) * ALPHA / RANK

    return parts, changed


def cayley(block: torch.Tensor) -> torch.Tensor:
    skew, identity = block - block.T, torch.eye(len(block))
    return torch.linalg.solve(identity - skew, identity + skew)


def oft(weight: torch.Tensor) -> Made:
    outputs = weight.shape[0]
    blocks = draw(outputs // 4, 4, 4)
    rotation = torch.block_diag(*(cayley(block) for block in blocks)).T
    rescale = 1 + draw(outputs, *(1 for _ in weight.shape[1:]))
    parts = {"oft_blocks": blocks, "alpha": torch.tensor(0.0), "rescale": rescale}
    return parts, lambda w: rescale * (rotation @ w.flatten(1)).reshape(w.shape)


def oft_constrained(weight: torch.Tensor) -> Made:
    outputs = weight.shape[0]
    blocks = draw(outputs // 4, 4, 4) * 100
    limit = 1e-3 * outputs
    shrunk = blocks * limit / (blocks - blocks.mT).norm()
    rotation = torch.block_diag(*(cayley(block) for block in shrunk)).T
    parts = {"oft_blocks": blocks, "alpha": torch.tensor(1e-3)}
    return parts, lambda w: (rotation @ w.flatten(1)).reshape(w.shape)


def boft(weight: torch.Tensor) -> Made:
    """Two stages of blocks of two: of neighbours, and of every second one in four."""
    outputs = weight.shape[0]
    blocks = draw(2, outputs // 2, 2, 2)
    near, far = (torch.block_diag(*(cayley(block) for block in stage)) for stage in blocks)
    order = torch.arange(outputs).reshape(-1, 2, 2).transpose(1, 2).flatten()
    swap = torch.eye(outputs)[order]
    parts = {"oft_blocks": blocks, "alpha": torch.tensor(0.0)}
    return parts, lambda w: (swap.T @ far @ swap @ near @ w.flatten(1)).reshape(w.shape)


FORM_MAKERS: dict[str, tuple[Callable[[torch.Tensor], Made], str]] = {
    "LoRA": (lora, "linear conv"),
    "LoCon, CP": (locon_cp, "conv"),
    "DoRA": (dora, "linear conv"),
    "DoRA by inputs": (dora_per_input, "linear conv"),
    "LoHa": (loha, "linear conv"),
    "LoHa, Tucker": (loha_tucker, "conv"),
    "LoKr": (lokr, "linear conv"),
    "LoKr of factors": (lokr_factors, "linear conv"),
    "LoKr, Tucker": (lokr_tucker, "conv"),
    "full": (full, "linear conv norm"),
    "norm": (norm, "norm"),
    "(IA)³": (ia3, "linear conv"),
    "(IA)³ on outputs": (ia3_on_outputs, "linear conv"),
    "GLoRA": (glora, "linear conv"),
    "OFT": (oft, "linear conv"),
    "OFT, constrained": (oft_constrained, "linear conv"),
    "BOFT": (boft, "linear conv"),
}


def kind_of(layer: Layer) -> str:
    return {1: "norm", 2: "linear", 4: "conv"}[len(layer.shape)]


def has_room(layer: Layer) -> bool:
    """conv_in and conv_out have four channels, and the tiny text encoder a prime width: too few for factors and blocks."""
    return all(size % 8 == 0 for size in layer.shape[:2])


def weight_of(pipeline: Any, layer: Layer) -> torch.Tensor:
    """What acts: the weight, and the product beside it."""
    component, _, path = layer.name.partition(".")
    module = getattr(pipeline, component).get_submodule(path)
    weight = module.weight.detach().clone()
    if isinstance(module, LowRankLayer):
        weight += torch.einsum("or,ri...->oi...", module.up.flatten(1), module.down)
    return weight


def make_file(
    path: Path, pipeline: Any, form: str, *, prefix: str = ""
) -> tuple[Path, dict[Layer, Callable[[torch.Tensor], torch.Tensor]]]:
    torch.manual_seed(3)
    make, kinds = FORM_MAKERS[form]
    tensors: Tensors = {}
    expected = {}
    is_xl = hasattr(pipeline, "text_encoder_2")
    for layer in sorted(set(find_layers(pipeline).values()), key=lambda layer: layer.name):
        if kind_of(layer) in kinds.split() and has_room(layer) and layer.name.startswith(prefix):
            parts, expected[layer] = make(weight_of(pipeline, layer))
            tensors |= {f"{kohya(layer.name, xl=is_xl)}.{end}": tensor for end, tensor in parts.items()}
    return write(path / f"{re.sub(r'[^a-z]', '', form.lower())}.safetensors", tensors), expected


def state_of(pipeline: Any) -> dict[str, bytes]:
    modules = {name: getattr(pipeline, name, None) for name in ("unet", "text_encoder", "text_encoder_2")}
    return {
        f"{name}.{key}": tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        for name, module in modules.items()
        if module is not None
        for key, tensor in module.state_dict().items()
    }
