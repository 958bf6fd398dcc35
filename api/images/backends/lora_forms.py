"""How the tensors of an adapter's file change a layer's weight, for each form that there is.  [torch]

The forms are LyCORIS's (https://github.com/KohakuBlueleaf/LyCORIS, docs/Algo-Details.md and lycoris/modules/, read at 4.1), which
kohya's scripts and most published files follow; PEFT's and diffusers' files are of the first. Here W is the checkpoint's weight
(outputs × inputs × kernel), r a rank, and each formula gives what is added to W at a strength of 1. At other strengths that is
multiplied by the strength, also where W itself is in the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

DOWN, UP, MID, ALPHA, MAGNITUDE, BIAS = "down", "up", "mid", "alpha", "magnitude", "bias"

Parts = Mapping[str, torch.Tensor]
"""The tensors of a file for one layer by what they are, in fp32, on the weight's device. `alpha` is not among them."""


@dataclass(frozen=True)
class Form:
    """One way to write a change. `change` of (parts, W, alpha or None)."""

    name: str
    needed: frozenset[str]
    optional: frozenset[str]
    change: Callable[[Parts, torch.Tensor, float | None], torch.Tensor]


def find_form(parts: Collection[str]) -> Form | None:
    """The form whose tensors are all there; None where there is no such form."""
    return next((form for form in FORMS if form.needed <= set(parts)), None)


def change_of(form: Form, parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """What is added to `weight` (fp32), in its shape. Raises ValueError or RuntimeError where the parts' shapes don't give it."""
    change = form.change(parts, weight, alpha)
    if change.shape[:1] != weight.shape[:1]:
        raise ValueError(f"{change.shape[0]} outputs where the layer has {weight.shape[0]}")
    change = change.reshape(weight.shape)
    return _decompose(weight, change, parts[MAGNITUDE]) if MAGNITUDE in parts else change


def scale_of(alpha: float | None, rank: int) -> float:
    """alpha / r; without alpha, or where it is 0, 1 (kohya's rule, networks/lora.py)."""
    return alpha / rank if alpha else 1.0


def _decompose(weight: torch.Tensor, change: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """DoRA (arXiv:2402.09353, equation 5): W' = m · (W + ΔW) / ‖W + ΔW‖.

    The norm is of each output (m has as many values as there are outputs; PEFT, kohya, LyCORIS's `wd_on_out`) or of each input
    (LyCORIS's older files, as the paper has it: columns). Where both are as many, m's shape says which.
    """
    changed = weight + change
    outputs, inputs, *kernel = weight.shape
    per_output = magnitude.ndim < 2 or magnitude.shape[0] == outputs
    kept = 0 if per_output else 1
    norm = torch.linalg.vector_norm(changed, dim=[axis for axis in range(changed.ndim) if axis != kept], keepdim=True)
    magnitude = magnitude.reshape(outputs if per_output else 1, 1 if per_output else inputs, *(1 for _ in kernel))
    return magnitude * changed / (norm + torch.finfo(torch.float32).eps) - weight


def _low_rank(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """LoRA and LoCon: ΔW = up @ down · alpha / r; with `mid` (r × r × kernel) down and up are 1×1 (a CP decomposition)."""
    down, up = parts[DOWN], parts[UP]
    rank = down.shape[0]
    if MID in parts:
        up, down = up.reshape(-1, rank), down.reshape(rank, -1)
        change = torch.einsum("mn...,im,nj->ij...", parts[MID], up, down)
    else:
        change = up.reshape(-1, rank) @ down.reshape(rank, -1)
    return change * scale_of(alpha, rank)


def _hadamard(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """LoHa (FedPara, arXiv:2108.06098): ΔW = (w1_a @ w1_b) ∘ (w2_a @ w2_b) · alpha / r; with t1 and t2 each half is a Tucker product."""
    halves = [
        _tucker(parts[f"hada_t{number}"], parts[f"hada_w{number}_a"], parts[f"hada_w{number}_b"])
        if f"hada_t{number}" in parts
        else parts[f"hada_w{number}_a"] @ parts[f"hada_w{number}_b"]
        for number in (1, 2)
    ]
    return halves[0] * halves[1] * scale_of(alpha, parts["hada_w1_b"].shape[0])


def _kronecker(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """LoKr: ΔW = w1 ⊗ w2 · alpha / r, where w1 and w2 are given whole or as products. Where both are whole there is no scale."""
    ranks = [parts[name].shape[0] for name in ("lokr_w2_b", "lokr_w1_b") if name in parts]
    first = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        second = _tucker(parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
    else:
        second = parts["lokr_w2_a"] @ parts["lokr_w2_b"]
    if second.ndim == 2 and weight.ndim > 2:  # a product has the kernel among its columns
        second = second.reshape(second.shape[0], -1, *weight.shape[2:])
    first = first.reshape(*first.shape[:2], *(1 for _ in second.shape[2:]))
    return torch.kron(first, second.contiguous()) * (scale_of(alpha, ranks[0]) if ranks else 1.0)


def _tucker(core: torch.Tensor, outputs: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ij...,ip,jr->pr...", core, outputs, inputs)


def _rescale(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """(IA)³ (arXiv:2205.05638): ΔW = W · w, one value for each output, or with `on_input` for each input."""
    outputs, inputs, *kernel = weight.shape
    values = parts["ia3_weight"].flatten()
    per_input, per_output = values.reshape(1, -1, *(1 for _ in kernel)), values.reshape(-1, 1, *(1 for _ in kernel))
    on_input = parts["on_input"].reshape(())
    if len(values) not in (inputs, outputs):
        raise ValueError("as many values as inputs or outputs are wanted")
    if inputs != outputs:
        return weight * (per_input if len(values) == inputs else per_output)
    return weight * torch.where(on_input > 0, per_input, per_output)


def _difference(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """A whole weight's difference (`diff`), or a normalisation's (`w_norm`): ΔW = diff."""
    return parts["diff"]


def _general(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """GLoRA (arXiv:2306.07967): ΔW = (W @ a1 @ a2 + b1 @ b2) · alpha / r, with a1 and a2 on the inputs."""
    a1, a2, b1, b2 = (parts[name].flatten(1) for name in ("glora_a1", "glora_a2", "glora_b1", "glora_b2"))
    mixed = torch.einsum("oi...,ij,jk->ok...", weight, a1, a2)
    return (mixed + (b1 @ b2).reshape(weight.shape)) * scale_of(alpha, a2.shape[0])


def _rotate(parts: Parts, weight: torch.Tensor, alpha: float | None) -> torch.Tensor:
    """OFT (arXiv:2306.07280) on the outputs: ΔW = R W − W, R of rotations in blocks; BOFT (arXiv:2311.06243) where there are several R
    one after the other, of which number i turns outputs that lie 2^i half blocks apart. `rescale` multiplies each output.

    A block is Cayley's (I + Q)(I − Q)⁻¹ of Q = B − Bᵀ, with the norm of all Q at most alpha · outputs where alpha isn't 0.
    """
    blocks = parts["oft_blocks"]
    skew = blocks - blocks.mT
    if alpha:
        norm = torch.linalg.vector_norm(skew) + 1e-8
        skew = skew * torch.clamp(alpha * weight.shape[0] / norm, max=1.0)
    identity = torch.eye(blocks.shape[-1], device=blocks.device)
    rotations = (identity + skew) @ torch.linalg.inv(identity - skew)
    if blocks.ndim == 3:
        turned = torch.einsum("knm,kn...->km...", rotations, weight.unflatten(0, blocks.shape[:2])).flatten(0, 1)
    else:
        turned = _turn_by_stages(rotations, weight)
    return turned * parts.get("rescale", torch.ones((), device=weight.device)) - weight


def _turn_by_stages(rotations: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    size = rotations.shape[-1]
    for number, rotation in enumerate(rotations):
        apart = 2**number * (size // 2)
        blocks = weight.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2).unflatten(0, (-1, size))
        turned = torch.einsum("bij,bj...->bi...", rotation, blocks).flatten(0, 1)
        weight = turned.unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return weight


def _form(name: str, needed: str, optional: str, change: Callable[[Parts, torch.Tensor, float | None], torch.Tensor]) -> Form:
    return Form(name, frozenset(needed.split()), frozenset([*optional.split(), BIAS]), change)


_KRONECKER = "alpha magnitude lokr_t2"
LOW_RANK = _form("LoRA", "down up", "alpha magnitude mid", _low_rank)
FORMS = (
    LOW_RANK,
    _form("LoHa", "hada_w1_a hada_w1_b hada_w2_a hada_w2_b", "alpha magnitude hada_t1 hada_t2", _hadamard),
    _form("LoKr", "lokr_w1 lokr_w2", "alpha magnitude", _kronecker),
    _form("LoKr", "lokr_w1 lokr_w2_a lokr_w2_b", _KRONECKER, _kronecker),
    _form("LoKr", "lokr_w1_a lokr_w1_b lokr_w2", "alpha magnitude", _kronecker),
    _form("LoKr", "lokr_w1_a lokr_w1_b lokr_w2_a lokr_w2_b", _KRONECKER, _kronecker),
    _form("OFT", "oft_blocks", "alpha rescale", _rotate),
    _form("GLoRA", "glora_a1 glora_a2 glora_b1 glora_b2", "alpha", _general),
    _form("(IA)³", "ia3_weight on_input", "", _rescale),
    _form("full", "diff", "", _difference),
)
