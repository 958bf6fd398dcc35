"""What the programs have in common."""

import base64
import struct
import zlib
from typing import Literal

from pydantic import BaseModel

REAL = "starter-vlm"
"""The built-in model: small, so that what needs judgement is forced, or left to the other."""
SCRIPTED = "scripted"
"""A model behind the same server that does what it is told (tests/clients/scripted_model.py)."""


def png(red: int, green: int, blue: int, side: int = 64) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes((red, green, blue)) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")


PNG = png(220, 30, 30)
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
ASKED = [{"type": "text", "text": "What is in this image?"}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
HAS_RESPONSES = True
"""Whether the server has /v1/responses, which agents use first where it is there."""


class Place(BaseModel):
    room: str
    floor: int | None = None


class Sight(BaseModel):
    """What is seen in a picture."""

    color: Literal["red", "blue"]
    count: int
    places: list[Place] = []
