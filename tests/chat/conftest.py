"""One real server with two tiny chat models, for all tests of this folder that speak to one."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from PIL import Image

from tests.live import LiveServer
from tests.models.tiny_chat import build_tiny_llama, build_tiny_vlm

CATALOG = """
[models."tiny/vlm"]
name = "Tiny VLM"
family = "idefics3"
task = "image-text-to-text"
path = "{vlm}"

[models.tiny-llama]
name = "Tiny Llama"
family = "llama"
task = "text-generation"
path = "{llama}"
"""


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks of a few kilobytes lose more by sharing out their work than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def chat_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat-catalog")
    file = folder / "models.toml"
    file.write_text(CATALOG.format(vlm=build_tiny_vlm(folder / "vlm"), llama=build_tiny_llama(folder / "llama")))
    return file


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, chat_catalog: Path) -> Iterator[LiveServer]:
    settings = {"CATALOG_EXTRA": chat_catalog, "DEFAULT_CHAT_MODEL": "tiny/vlm", "DATABASE_URL": "", "DEVICE": "cpu"}
    with LiveServer(tmp_path_factory.mktemp("chat-server"), **settings) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


ONNX_CATALOG = """
[models."tiny/vlm"]
name = "Tiny VLM"
family = "idefics3"
task = "image-text-to-text"
path = "vlm"
onnx = ["int8", "fp32"]

[models.tiny-llama]
name = "Tiny Llama"
family = "llama"
task = "text-generation"
path = "llama"
onnx = ["int8", "fp32"]
"""
Exported = tuple[Path, dict[str, dict[str, Any]]]
"""A catalog file, and how each export compares with its original."""


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The two tiny models, traced, quantised and compared once: that takes a minute."""
    from api.chat.export import export_onnx

    folder = tmp_path_factory.mktemp("onnx")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (folder / "models.toml").write_text(ONNX_CATALOG)
    vlm, llama = build_tiny_vlm(folder / "vlm"), build_tiny_llama(folder / "llama")
    found = {
        "tiny/vlm": export_onnx(vlm, vlm, "fp32", "int8"),
        "tiny-llama": export_onnx(llama, llama, "fp32", "int8", task="text-generation"),
    }
    torch.set_num_threads(threads)
    return folder / "models.toml", found


@pytest.fixture
def sdk(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="not needed", max_retries=0, timeout=60) as sdk:
        yield sdk


def picture(color: str = "red", size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, color)


def data_url(image: Image.Image, format: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def ask(text: str, *images: str, detail: str = "auto") -> list[dict[str, Any]]:
    """One user's message, with pictures by their URLs before the text."""
    shown = [{"type": "image_url", "image_url": {"url": url, "detail": detail}} for url in images]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}] if shown else text}]


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT  # type: ignore[no-any-return]
