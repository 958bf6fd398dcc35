"""What made a picture as a command: for curl, and for Python."""

import json
import pprint
import shlex
from collections.abc import Mapping
from typing import Any

from api.images.models import GeneratedImage
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.specs import fields_of
from api.studio.forms import CHOSE_A_PICTURE

WIDTH = 100
KEY_HEADER = "Authorization: Bearer $DARKROOM_KEY"


def request_of(image: GeneratedImage) -> dict[str, Any]:
    """The request for this picture alone, without what is said by leaving it out."""
    defaults = {one.name: one.default for one in fields_of(Img2ImgSpec)}
    return {
        name: value
        for name, value in image.parameters.items()
        if value not in (None, [], {}) and name not in CHOSE_A_PICTURE and value != defaults.get(name)
    }


def snippets(image: GeneratedImage, server: str, *, needs_key: bool) -> list[tuple[str, str, str]]:
    """An id, a name, and the text of each; none of a picture that no prompt made."""
    if not image.is_generated:
        return []
    kind = Img2ImgSpec.kind if image.origin == GeneratedImage.Origin.EDITED else Txt2ImgSpec.kind
    url, body = f"{server}/api/{kind}/", request_of(image)
    return [
        ("curl", "curl", curl(url, body, needs_key=needs_key)),
        ("python", "Python", python(url, body, needs_key=needs_key)),
        ("json", "JSON", json.dumps(body, ensure_ascii=False, indent=2)),
    ]


def curl(url: str, body: Mapping[str, Any], *, needs_key: bool) -> str:
    lines = [f"curl {shlex.quote(url)}", "-H 'Content-Type: application/json'"]
    if needs_key:
        lines.append(f'-H "{KEY_HEADER}"')
    lines.append(f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}")
    return " \\\n  ".join(lines)


def python(url: str, body: Mapping[str, Any], *, needs_key: bool) -> str:
    """With the standard library alone."""
    headers = '{"Content-Type": "application/json"}'
    if needs_key:
        headers = '{"Content-Type": "application/json", "Authorization": f"Bearer {os.environ[\'DARKROOM_KEY\']}"}'
    return "\n".join(
        [
            "import json",
            *(["import os"] if needs_key else []),
            "import urllib.request\n",
            f"body = {pprint.pformat(dict(body), width=WIDTH, sort_dicts=False)}",
            f"request = urllib.request.Request({json.dumps(url)}, json.dumps(body).encode(), {headers})",
            "job = json.load(urllib.request.urlopen(request))",
            'print(job["result"]["images"][0]["url"])',
        ]
    )
