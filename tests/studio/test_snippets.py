"""What a picture's page offers to copy makes that picture again: it is run, as it is copied."""

import html
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.live import LiveServer

pytestmark = [pytest.mark.models, pytest.mark.own_database]
RUN = {"curl": ["bash", "-c"], "python": [sys.executable, "-c"]}


def newest(server: LiveServer) -> Any:
    return server.client.get("/api/images/?limit=1").json()["results"][0]


def pixels(server: LiveServer, image: Any) -> bytes:
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(server.client.get(f"/api/images/{image['id']}/file/").content)).convert("RGB").tobytes()


@pytest.fixture(scope="module")
def made(server: LiveServer) -> Any:
    """The best of two, with words that shells and Python read differently."""
    body = {"prompt": 'it\'s a "lake" $HOME `x` \\ 100 % hồ', "steps": 3, "guidance_scale": 4.5, "best_of": 2, "tags": ["a b"]}
    return server.client.post("/api/txt2img/", json=body).json()["result"]["images"][0]


@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_copied_command_makes_the_same_picture(server: LiveServer, made: Any, language: str) -> None:
    if language == "curl" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    page = server.client.get(f"/studio/images/{made['id']}/").text
    found = re.search(rf'<pre[^>]* id="snippet-{language}"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found
    done = subprocess.run([*RUN[language], html.unescape(found[1])], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    again = newest(server)
    assert again["id"] != made["id"]
    assert again["id"] in done.stdout
    assert pixels(server, again) == pixels(server, made)
