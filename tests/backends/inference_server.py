"""A local server that speaks the protocol of Hugging Face's inference servers: JSON in, the picture's bytes out."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from tests.scripted_server import Reply, ScriptedServer

PNG = "image/png"


class InferenceServer(ScriptedServer):
    """A step of `script` is a status, seconds to wait, bytes, or a status with headers."""

    def usual(self, body: dict[str, Any]) -> Reply:
        """Of the size asked for; red from a prompt, the source's own colour from a picture."""
        told = body["parameters"]
        size = told.get("target_size", told)
        colour: Any = "red"
        if "prompt" in told:
            with Image.open(io.BytesIO(base64.b64decode(body["inputs"]))) as source:
                colour = source.getpixel((0, 0))
        written = io.BytesIO()
        Image.new("RGB", (size["width"], size["height"]), colour).save(written, "PNG")
        return Reply(written.getvalue(), PNG)

    def scripted(self, step: int | bytes | tuple[int, dict[str, str]]) -> Reply:
        if isinstance(step, bytes):
            return Reply(step, PNG)
        if isinstance(step, tuple):
            status, headers = step
            return Reply(b"{}", PNG, status, headers)
        return Reply(b'{"error": "internal words of the server"}', PNG, step)
