"""What ControlNets are steered by, and how their files are usually named."""

from __future__ import annotations

import re

CONTROL_KINDS = (
    "canny", "softedge", "scribble", "lineart", "lines", "tile", "grey", "colour", "depth", "normal", "pose", "segmentation"
)  # fmt: skip
UNION_TYPES = {
    "pose": 0, "depth": 1, "softedge": 2, "scribble": 2, "canny": 3, "lineart": 3, "lines": 3, "normal": 4, "segmentation": 5, "tile": 6
}  # fmt: skip
"""Of a ControlNet Union for SDXL: its number of each kind (the model card of xinsir's controlnet-union-sdxl-1.0, ProMax has `tile`)."""
_NAMES = {
    "canny": "canny",
    "softedge": "softedge|hed|pidi|teed",
    "scribble": "scribble|sketch",
    "lineart": "lineart|anime",
    "lines": "mlsd",
    "tile": "tile|blur",
    "grey": "gr[ae]y(scale)?|recolor|brightness",
    "colour": "colou?r",
    "depth": "depth|zoe",
    "normal": "normal(bae)?",
    "pose": "(open)?pose",
    "segmentation": "seg(mentation)?",
}
_BY_NAME = {kind: re.compile(rf"(?<![a-z])({pattern})(?![a-z])") for kind, pattern in _NAMES.items()}


def union_kinds(types: int) -> tuple[str, ...]:
    """That a ControlNet Union of so many types reads."""
    return tuple(kind for kind, number in UNION_TYPES.items() if number < types)


def kinds_by_name(name: str) -> tuple[str, ...]:
    """Of a file such as control_v11p_sd15_canny; () where nothing in its name tells."""
    return tuple(kind for kind, pattern in _BY_NAME.items() if pattern.search(name.lower()))
