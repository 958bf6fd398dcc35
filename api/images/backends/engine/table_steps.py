"""One scheduler step for many rows, whatever their schedulers, steps and positions, by coefficients.py.  [torch; no Django]

A row's sums are of its own tensors, elementwise: its result has the same bytes alone and among others, and a NaN stays in its row.
What is remembered is a reference where nothing was computed, so nothing is copied, and rows join, leave and pause freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from api.images.backends.engine.coefficients import OUTPUT, CoefficientTable, Combination

Summands = Sequence[tuple[torch.Tensor, float]]
"""A sum to compute: tensors, each times its coefficient."""


@dataclass(eq=False)
class TableRow:
    """One picture while it is denoised."""

    table: CoefficientTable
    latents: torch.Tensor
    """(1, channels, h, w) in fp32. A caller that changes them puts a new tensor here: the row may remember the old one."""
    generator: torch.Generator
    """On the CPU, with whatever was drawn before the first pass."""
    position: int = 0
    """Passes that are done."""
    memory: tuple[torch.Tensor, ...] = ()
    """(1, channels, h, w) each, in fp32; what they are, the last pass's coefficients say."""
    drawn: torch.Tensor | None = None
    """The noise of the step that is being made: where memory runs out in it, it is made again, of the same noise."""

    @property
    def is_done(self) -> bool:
        return self.position == self.table.passes


def model_inputs(rows: Sequence[TableRow]) -> torch.Tensor:
    """(rows, channels, h, w) in fp32: each row's latents, scaled for its pass."""
    scales = [row.table.input_scale[row.position] for row in rows]
    scaled = iter(_sum_up([[(row.latents, scale)] for row, scale in zip(rows, scales, strict=True) if scale != 1.0]))
    return torch.cat([row.latents if scale == 1.0 else next(scaled) for row, scale in zip(rows, scales, strict=True)])


def advance(rows: Sequence[TableRow], outputs: torch.Tensor) -> None:
    """Each row's next latents, memory and position, by the model's `outputs` (rows, channels, h, w), with guidance applied. If it
    raises, no row has changed.

    Reads nothing from the device, and copies nothing to it but the noise that rows draw, in one transfer.
    """
    outputs = outputs.to(torch.float32, memory_format=torch.contiguous_format)
    steps = [row.table.step[row.position] for row in rows]
    sources = [
        (row.latents, output, noise, *row.memory)
        for row, output, noise in zip(rows, outputs.split(1), draw_noise(rows), strict=True)
    ]
    computed = iter(
        _sum_up(
            [
                [(tensors[source], factor) for source, factor in sums]
                for step, tensors in zip(steps, sources, strict=True)
                for sums in (step.latents, *step.memory)
                if not _is_reference(sums)
            ]
        )
    )
    for row, step, tensors in zip(rows, steps, sources, strict=True):
        row.latents, *memory = (
            tensors[sums[0][0]] if _is_reference(sums) else next(computed) for sums in (step.latents, *step.memory)
        )
        row.memory = tuple(memory)
        row.position += 1
        row.drawn = None


def draw_noise(rows: Sequence[TableRow]) -> list[torch.Tensor | None]:
    """What diffusers' randn_tensor draws for each row whose pass draws: fp32, on the CPU, then moved; None for the others."""
    drawing = [row for row in rows if row.table.draws_noise[row.position]]
    if not drawing:
        return [None] * len(rows)
    latents = drawing[0].latents
    on_cuda = latents.device.type == "cuda"
    drawn = torch.empty((len(drawing), *latents.shape[1:]), pin_memory=on_cuda)  # reused only when the transfer is over
    for row, place in zip(drawing, drawn.split(1), strict=True):
        if row.drawn is None:
            row.drawn = torch.randn(place.shape, generator=row.generator, out=place)
        else:
            place.copy_(row.drawn)
    moved = iter(drawn.to(latents.device, non_blocking=on_cuda).split(1))
    return [next(moved) if row.table.draws_noise[row.position] else None for row in rows]


def _is_reference(sums: Combination) -> bool:
    """Nothing to compute. An output is computed all the same: it is a part of a tensor that a CUDA graph writes again."""
    return len(sums) == 1 and sums[0][1] == 1.0 and sums[0][0] != OUTPUT


def _sum_up(sums: Sequence[Summands]) -> list[torch.Tensor]:
    if not sums:
        return []
    return _sum_one_by_one(sums) if sums[0][0][0].device.type == "cpu" else _sum_together(sums)


def _sum_one_by_one(sums: Sequence[Summands]) -> list[torch.Tensor]:
    """For a CPU: a total stays in the cache until it is done, which takes three quarters of the time of `_sum_together`."""
    totals = []
    for (tensor, factor), *others in sums:
        total = tensor * factor
        for other, other_factor in others:
            total.add_(other, alpha=other_factor)
        totals.append(total)
    return totals


def _sum_together(sums: Sequence[Summands]) -> list[torch.Tensor]:
    """For a GPU: all first summands are one operation, then all second ones, and so on.

    Each is a kernel or two, whatever the number of rows; its coefficients are arguments of the kernel, so nothing is copied.
    """
    totals = torch._foreach_mul([summands[0][0] for summands in sums], [summands[0][1] for summands in sums])
    ones = torch.ones_like(totals[0])
    for number in range(1, max(map(len, sums))):
        longer = [(total, *summands[number]) for total, summands in zip(totals, sums, strict=True) if len(summands) > number]
        into, tensors, factors = (list(column) for column in zip(*longer, strict=True))
        torch._foreach_addcmul_(into, tensors, [ones] * len(longer), factors)
    return list(totals)
