"""The parameters in a picture's file, as POST /api/png-info/ finds them there."""

import json
from typing import Any

from api.images.png_info.texts import read_texts


def read_parameters(data: bytes) -> dict[str, Any] | None:
    """Ours, whole; None where the file has none."""
    text = read_texts(data).get("darkroom")
    return None if text is None else json.loads(text)
