"""One real server with a tiny real checkpoint as its default model, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from tests.models.tiny import build_tiny_lora, build_tiny_sd, build_tiny_sdxl
from tests.models.tiny_control import build_tiny_control
from tests.models.tiny_ip_adapter import build_tiny_image_encoder, build_tiny_ip_adapter

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

[models.tiny-prompter]
name = "Tiny prompter"
task = "ip-adapter"
family = "sd1"
path = "{prompter}"

[models.picture-reader]
name = "Picture reader"
task = "image-encoder"
path = "{reader}"
features = ["embeds-24", "states-48"]

[models.whole-prompter]
name = "Whole prompter"
task = "ip-adapter"
family = "sd1"
path = "{whole}"

[models.blind-prompter]
name = "Blind prompter"
task = "ip-adapter"
family = "sd1"
path = "{prompter}"
features = ["embeds-999"]

[models.wide-prompter]
name = "Wide prompter"
task = "ip-adapter"
family = "sdxl"
path = "{prompter}"

[models.narrow-prompter]
name = "Narrow prompter"
task = "ip-adapter"
family = "sd1"
path = "{narrow_prompter}"

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
    prompters = {
        "prompter": build_tiny_ip_adapter(folder / "prompter.safetensors", model),
        "whole": build_tiny_ip_adapter(folder / "whole" / "mine.safetensors", model, "plus").parent,
        "narrow_prompter": build_tiny_ip_adapter(folder / "narrow.safetensors", folder / "wide"),
        "reader": build_tiny_image_encoder(folder / "reader"),
    }
    build_tiny_image_encoder(folder / "whole" / "image_encoder")
    lora = lora if lora.is_file() else next(lora.glob("*.safetensors"))
    file.write_text(CATALOG.format(model=model, lora=lora, control=control, narrow=narrow, **prompters))
    return str(file)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_catalog_file: str) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("server")
    with LiveServer(folder, CATALOG_EXTRA=tiny_catalog_file, DEFAULT_IMAGE_MODEL="tiny", DATABASE_URL="") as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live
