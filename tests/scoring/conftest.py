"""Posters, ways to send them, and a worker whose crank the test turns."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image, ImageDraw, ImageFont

from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from tests.scoring.learned import loader, small_models  # noqa: F401  (fixtures)

ASYNC = {"Prefer": "respond-async"}
INK, PAPER = (30, 41, 59), (248, 250, 252)


def write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, color: Any) -> None:
    draw.text(at, text, font=ImageFont.load_default(size), fill=color, anchor="mm")


def poster(ink: Any = INK, paper: Any = PAPER, size: tuple[int, int] = (640, 400)) -> Image.Image:
    """Title, text and a button, centred."""
    image = Image.new("RGB", size, paper)
    draw, middle = ImageDraw.Draw(image), size[0] // 2
    write(draw, (middle, size[1] // 4), "Midsummer Jazz Night", size[0] // 14, ink)
    write(draw, (middle, size[1] // 2), "Live on the lake stage with the quartet", size[0] // 32, ink)
    draw.rectangle((middle - 70, size[1] * 3 // 4 - 22, middle + 70, size[1] * 3 // 4 + 22), fill=(37, 99, 235))
    write(draw, (middle, size[1] * 3 // 4), "Get tickets", size[0] // 32, (255, 255, 255))
    return image


def encoded(image: Image.Image, format: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """POST without waiting for the result."""

    def send(body: dict[str, Any], path: str = "/api/score/") -> Any:
        return client.post(path, body, content_type="application/json", headers=ASYNC)

    return send


@pytest.fixture
def score(post: Callable[..., Any], media: Path) -> Callable[..., Job]:
    """POST, let a worker do it, and give the finished job."""

    def run(body: dict[str, Any], path: str = "/api/score/") -> Job:
        reply = post(body, path)
        assert reply.status_code == 202, reply.content
        loop = WorkerLoop()
        while loop.run_once():
            pass
        loop.end()  # else the next one's jobs are left to it, for PLACEMENT_SECONDS, as the worker that holds their model
        job = Job.objects.get(pk=reply.json()["id"])
        assert job.status == "succeeded", job.error
        return job

    return run
