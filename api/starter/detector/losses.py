"""What the detector learns from: task-aligned assignment of cells to boxes (Feng et al., arXiv:2108.07755), CIoU, cross-entropy."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from api.starter.detector.drawings import Drawing
from api.starter.detector.network import boxes_of, cells

CELLS_A_BOX, SCORE_POWER, IOU_POWER = 10, 0.5, 6.0
BOX_WEIGHT, CLASS_WEIGHT = 5.0, 1.0
EPSILON = 1e-7


def iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of boxes x0, y0, x1, y1 in the last dimension, broadcast."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (one, other)]
    return common / (areas[0] + areas[1] - common + EPSILON)


def complete_iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """IoU less what the middles are apart and what the sides' ratio differs (Zheng et al., arXiv:1911.08287)."""
    overlap = iou(one, other)
    around = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    apart = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    distance = apart.square().sum(dim=-1) / (around.square().sum(dim=-1) + EPSILON)
    angles = [torch.atan2(*(boxes[..., 2:] - boxes[..., :2] + EPSILON).unbind(dim=-1)) for boxes in (one, other)]
    ratio = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        weight = ratio / (1 - overlap + ratio + EPSILON)
    return overlap - distance - weight * ratio


@torch.no_grad()
def assign(
    scores: torch.Tensor, boxes: torch.Tensor, middles: torch.Tensor, classes: torch.Tensor, truth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """For one picture the box that each cell is to find, or -1, and how sure it is to be: 0..1.

    `scores` (cells, classes) and `boxes` (cells, 4) are what was predicted, `classes` (n,) and `truth` (n, 4) what is there.
    A cell whose middle is in a box suits it by score^0.5 IoU^6; a box takes the ten that suit it best.
    """
    inside = torch.minimum(middles[None] - truth[:, None, :2], truth[:, None, 2:] - middles[None]).amin(dim=-1) > 0
    overlap = iou(truth[:, None], boxes[None]) * inside
    suits = scores[:, classes].T ** SCORE_POWER * overlap**IOU_POWER + inside * 1e-9
    best = torch.zeros_like(inside).scatter_(1, suits.topk(CELLS_A_BOX, dim=1).indices, True) & inside
    of_cell = (overlap * best + best * 1e-6).max(dim=0)
    taken = best & (torch.arange(len(truth))[:, None] == of_cell.indices[None])
    suits = suits * taken
    share = suits / (suits.amax(dim=1, keepdim=True) + 1e-12) * (overlap * taken).amax(dim=1, keepdim=True)
    owner = torch.where(taken.any(dim=0), of_cell.indices, -1)
    return owner, share.amax(dim=0)


def detector_loss(output: torch.Tensor, drawings: Sequence[Drawing]) -> torch.Tensor:
    middles, strides = cells()
    boxes = boxes_of(output, middles, strides)
    logits = output[:, 4:].transpose(1, 2)
    targets, wanted, weights, found = torch.zeros_like(logits), [], [], []
    for index, drawing in enumerate(drawings):
        if not len(drawing.classes):
            continue
        classes, truth = torch.from_numpy(drawing.classes), torch.from_numpy(drawing.boxes)
        owner, share = assign(logits[index].sigmoid(), boxes[index], middles, classes, truth)
        own = owner >= 0
        targets[index, own, classes[owner[own]]] = share[own]
        wanted.append(truth[owner[own]])
        found.append(boxes[index, own])
        weights.append(share[own])
    total = targets.sum().clamp(min=1)
    class_loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / total
    if not wanted:
        return CLASS_WEIGHT * class_loss
    box_loss = ((1 - complete_iou(torch.cat(found), torch.cat(wanted))) * torch.cat(weights)).sum() / total
    return BOX_WEIGHT * box_loss + CLASS_WEIGHT * class_loss
