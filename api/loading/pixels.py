"""What a CLIP's image processor does, as its configuration says, in a third of its time.  [torch; no Django]

The processor resizes the whole picture and then cuts its middle out. Pillow can resize the middle alone, which is the same but for
the rounding of its edges (a level of 255 in less than one value of a thousand), and an extreme shape is never blown up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Look = NDArray[np.uint8]
"""(H, W, 3): the part of a picture that the network sees, at the network's size."""


@dataclass(frozen=True)
class Preparation:
    """`edge`: the shorter side is scaled to it before `width` × `height` are cut from the middle; None: scaled to these at once."""

    width: int
    height: int
    edge: int | None
    resample: int
    scale: torch.Tensor
    shift: torch.Tensor
    """(3, 1, 1): a value v of 0-255 becomes v · scale + shift."""

    @classmethod
    def of(cls, processor: Any) -> Preparation:
        """Raises ValueError for a configuration of another form."""
        size, crop = dict(processor.size), dict(processor.crop_size or {})
        edge = size.get("shortest_edge")
        cut = crop if processor.do_center_crop else size
        if not processor.do_resize or not processor.do_rescale or "height" not in cut or not (edge or size == cut):
            raise ValueError("its image processor neither scales to a square nor cuts one out of the middle")
        mean = torch.tensor(processor.image_mean if processor.do_normalize else [0.0] * 3).view(3, 1, 1)
        std = torch.tensor(processor.image_std if processor.do_normalize else [1.0] * 3).view(3, 1, 1)
        return cls(
            int(cut["width"]),
            int(cut["height"]),
            int(edge) if edge else None,
            int(processor.resample),
            processor.rescale_factor / std,
            -mean / std,
        )

    def look(self, picture: Image.Image) -> Look:
        """Of a picture of any size and mode."""
        image = picture if picture.mode == "RGB" else picture.convert("RGB")
        seen = image.resize((self.width, self.height), Image.Resampling(self.resample), box=self._box(*image.size))
        return np.asarray(seen)

    def pixels(self, looks: Sequence[Look]) -> torch.Tensor:
        """(N, 3, H, W) float32: what the network takes."""
        batch = torch.from_numpy(np.stack(looks)).permute(0, 3, 1, 2).float()
        return batch * self.scale + self.shift

    def _box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part that is seen, in the picture's own pixels."""
        if self.edge is None:
            return 0, 0, width, height
        across, down = scaled_size(width, height, self.edge)
        left, top = (across - self.width) // 2, (down - self.height) // 2
        return (
            left * width / across,
            top * height / down,
            min((left + self.width) * width / across, width),
            min((top + self.height) * height / down, height),
        )


def scaled_size(width: int, height: int, edge: int) -> tuple[int, int]:
    """Width and height with the shorter one scaled to `edge`, rounded down as transformers does."""
    return (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)
