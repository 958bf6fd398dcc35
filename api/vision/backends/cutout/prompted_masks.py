"""The mask of what a box or points show, by a model of SAM's family.  [torch; no Django]"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from api.loading.onnx import Array
from api.loading.segmenters import TorchSegmenter
from api.vision.cutout.request import CutoutRequest


def find_prompted_mask(model: TorchSegmenter, request: CutoutRequest, device: Any) -> Array:
    """(height, width) float32 of 0..1, of the whole picture: of the model's proposals the one that it trusts most."""
    given = model.processor(images=request.picture, return_tensors="pt")
    height, width = given["reshaped_input_sizes"][0].tolist()
    prompts = prompts_of(request, width / request.picture.width, height / request.picture.height)
    with torch.inference_mode():
        outputs = model.model(
            pixel_values=given["pixel_values"].to(device), **{name: prompt.to(device) for name, prompt in prompts.items()}
        )
    best = int(outputs.iou_scores[0, 0].argmax())
    logits = outputs.pred_masks[0, 0, best].float().cpu()
    padded = functional.interpolate(logits[None, None], size=given["pixel_values"].shape[-2:], mode="bilinear")[0, 0]
    mask: Array = padded[:height, :width].sigmoid().numpy()
    return mask


def prompts_of(request: CutoutRequest, across: float, down: float) -> dict[str, torch.Tensor]:
    """In pixels of the model's input, which the picture was scaled to by these factors."""
    prompts: dict[str, torch.Tensor] = {}
    if box := request.spec.box:
        corners = [box.xmin * across, box.ymin * down, box.xmax * across, box.ymax * down]
        prompts["input_boxes"] = torch.tensor([[corners]])
    if points := request.spec.points:
        prompts["input_points"] = torch.tensor([[[[point.x * across, point.y * down] for point in points]]])
        prompts["input_labels"] = torch.tensor([[[int(point.inside) for point in points]]])
    return prompts
