"""One real server with a tiny real checkpoint as its default model, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from tests.models.tiny import build_tiny_lora, build_tiny_sd, build_tiny_sdxl
from tests.models.tiny_control import build_tiny_control

CATALOG = """
[models.tiny]
name = "Tiny"
family = "sd1"
path = "{model}"
default_size = 64
default_steps = 3
default_guidance_scale = 3.0
max_batch = 4

[models.tiny-control]
name = "Tiny control"
task = "controlnet"
family = "sd1"
path = "{control}"
control = ["canny", "scribble"]

[models.wide-control]
name = "Wide control"
task = "controlnet"
family = "sdxl"
path = "{control}"

[models.narrow-control]
name = "Narrow control"
task = "controlnet"
family = "sd1"
path = "{narrow}"

[adapters.tiny-style]
name = "Tiny style"
family = "sd1"
base = ["tiny"]
path = "{lora}"
"""


@pytest.fixture(scope="session")
def tiny_catalog_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("catalog")
    model = build_tiny_sd(folder / "tiny")
    lora = build_tiny_lora(folder / "lora", model)
    file = folder / "models.toml"
    control = build_tiny_control(folder / "control", model)
    narrow = build_tiny_control(folder / "narrow", build_tiny_sdxl(folder / "wide"))
    lora = lora if lora.is_file() else next(lora.glob("*.safetensors"))
    file.write_text(CATALOG.format(model=model, lora=lora, control=control, narrow=narrow))
    return str(file)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_catalog_file: str) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("server")
    with LiveServer(folder, CATALOG_EXTRA=tiny_catalog_file, DEFAULT_IMAGE_MODEL="tiny", DATABASE_URL="") as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live
