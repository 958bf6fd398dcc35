"""POST /sdapi/v1/img2img."""

from typing import Any

import pytest
from PIL import Image

from tests.dialects.a1111.conftest import ask, encoded, info, job_of, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
ASKED: dict[str, Any] = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}
SQUARE = encoded(Image.new("RGB", (64, 64), "blue"))


def test_a_picture_becomes_another_one(server: LiveServer) -> None:
    reply = ask(server, "img2img", **ASKED, init_images=[SQUARE], denoising_strength=0.5)
    [picture] = pictures(reply)
    assert picture.size == (64, 64)
    assert info(reply)["denoising_strength"] == 0.5
    assert (reply.json()["parameters"]["init_images"], reply.json()["parameters"]["mask"]) == (None, None)
    assert job_of(server, reply)["params"]["strength"] == 0.5
