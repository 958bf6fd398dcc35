"""How a job's result shows a picture to a client."""

from __future__ import annotations

from typing import Any

from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import read_file
from api.json_types import JsonObject


def render_image(image: dict[str, Any], include: frozenset[str]) -> JsonObject:
    path = f"/api/images/{image['id']}/"
    shown = {"id": image["id"], "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/", **image}
    return {**shown, "image_base64": read_base64(image["id"])} if "base64" in include else shown


def read_base64(identifier: str) -> str | None:
    """The file's bytes; None where the picture has been deleted since."""
    import base64

    file = StoredFile.objects.filter(pk=identifier).first()
    try:
        return base64.b64encode(read_file(file)).decode() if file else None
    except MissingFile:
        return None
