"""Upscaling networks: read from the files of each release, exact in tiles, refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from PIL import Image

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.images.backends.upscalers import tiles
from api.images.backends.upscalers.enlarge import plan, run_passes
from api.loading.upscaling.building import build_upscaler, network_of
from api.loading.upscaling.networks import NotAnUpscaler, UpscalingNetwork
from api.loading.upscaling.rrdbnet import RRDBNet
from api.loading.upscaling.srvgg import SRVGGNetCompact
from tests.upscaling.networks import as_bsrgan, as_esrgan, rrdbnet, srvgg, write

pytestmark = pytest.mark.models
NETWORKS: dict[str, Callable[[], UpscalingNetwork]] = {
    "RRDBNet": rrdbnet,
    "RRDBNet of half the scale": lambda: rrdbnet(2, 2),
    "SRVGGNetCompact": srvgg,
    "SRVGGNetCompact of half the scale": lambda: srvgg(2),
}


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def enlarged(network: UpscalingNetwork, picture: Image.Image, scale: int, side: int = 1200) -> np.ndarray:
    return np.asarray(tiles.enlarge_in_tiles(network, picture, scale, side, lambda: None), dtype=int)


# ---------------------------------------------------------------- networks


def test_an_rrdbnet_is_what_its_paper_says() -> None:
    """Written out once more, without modules: dense blocks of five convolutions, residuals times 0.2, two doublings."""
    network, x = rrdbnet(), torch.rand(1, 3, 7, 5)
    weights = network.state_dict()

    def conv(name: str, maps: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(maps, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def dense(name: str, x: torch.Tensor) -> torch.Tensor:
        seen = [x]
        for place in range(1, 5):
            seen.append(functional.leaky_relu(conv(f"{name}.conv{place}", torch.cat(seen, 1)), 0.2))
        return conv(f"{name}.conv5", torch.cat(seen, 1)) * 0.2 + x

    first = maps = conv("conv_first", x)
    for block in range(2):
        inside = maps
        for place in range(1, 4):
            inside = dense(f"body.{block}.rdb{place}", inside)
        maps = inside * 0.2 + maps
    maps = first + conv("conv_body", maps)
    for name in ("conv_up1", "conv_up2"):
        maps = functional.leaky_relu(conv(name, maps.repeat_interleave(2, 2).repeat_interleave(2, 3)), 0.2)
    expected = conv("conv_last", functional.leaky_relu(conv("conv_hr", maps), 0.2))
    with torch.no_grad():
        assert torch.allclose(network(x), expected, atol=1e-5)


@pytest.mark.parametrize("names", [dict, as_bsrgan, as_esrgan], ids=["Real-ESRGAN", "BSRGAN", "ESRGAN"])
@pytest.mark.parametrize("wrapper", ["", "params_ema."])
def test_the_names_of_all_three_releases_are_one_network(names: Callable[..., dict[str, torch.Tensor]], wrapper: str) -> None:
    network, x = rrdbnet(), torch.rand(1, 3, 6, 6)
    found = network_of({f"{wrapper}{name}": tensor for name, tensor in names(network.state_dict()).items()})
    assert isinstance(found, RRDBNet)
    assert found.scale == 4
    with torch.no_grad():
        assert torch.equal(found(x), network(x))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_srvgg_file_says_its_own_scale(scale: int) -> None:
    found = network_of(srvgg(scale).state_dict())
    assert isinstance(found, SRVGGNetCompact)
    assert (found.scale, found.margin) == (scale, 6)


def test_a_network_whose_first_layer_takes_squares_of_pixels_enlarges_less() -> None:
    assert network_of(rrdbnet(2, 2).state_dict()).scale == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("body.1.rdb2.conv3.weight"), "it lacks the tensor body.1.rdb2.conv3.weight"),
        (
            lambda tensors: tensors.update({"body.0.rdb1.conv1x1.weight": torch.ones(1)}),
            "body.0.rdb1.conv1x1.weight, which the",
        ),
        (
            lambda tensors: tensors.update({"conv_hr.weight": torch.ones(4, 4, 3, 3)}),
            "conv_hr.weight has the shape [4, 4, 3, 3]",
        ),
        (lambda tensors: tensors.update({"conv_first.weight": torch.ones(16, 5, 3, 3)}), "it takes 5 channels"),
        (lambda tensors: [tensors.pop(name) for name in list(tensors) if "rdb" in name], "has no body.0.rdb1.conv1"),
    ],
)
def test_a_file_that_is_no_such_network_is_refused_with_the_reason(
    change: Callable[[dict[str, torch.Tensor]], object], reason: str
) -> None:
    tensors = dict(rrdbnet().state_dict())
    change(tensors)
    with pytest.raises(NotAnUpscaler) as caught:
        network_of(tensors)
    assert reason in str(caught.value)


def test_a_network_that_enlarges_nothing_is_refused() -> None:
    with pytest.raises(NotAnUpscaler, match="leaves it at its size"):
        network_of(rrdbnet(2, 4).state_dict())


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"x" * 400])
def test_a_damaged_file_is_an_error_that_names_the_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    entry = ModelEntry(id="bad", name="Bad", task="upscaling", path=tmp_path / "bad.safetensors", single_file=True)
    device = Device("cpu", 0, "CPU", torch.float32, False, 2**34)
    with pytest.raises(DarkroomError) as caught:
        build_upscaler(entry, tmp_path / "bad.safetensors", device)
    assert (caught.value.code, caught.value.status) == ("broken_model", 422)
    assert "Bad can't be used to enlarge pictures" in caught.value.detail


def test_values_that_are_not_numbers_are_named_by_their_tensor(tmp_path: Path) -> None:
    network = rrdbnet()
    name, weight = next(iter(network.named_parameters()))
    weight.data.view(-1)[0] = torch.nan
    file = write(tmp_path / "bad.safetensors", network)
    entry = ModelEntry(id="bad", name="Bad", task="upscaling", path=file, single_file=True)
    with pytest.raises(DarkroomError, match=f"the tensor {name} in bad.safetensors has values that are not numbers"):
        build_upscaler(entry, file, Device("cpu", 0, "CPU", torch.float32, False, 2**34))


@pytest.mark.parametrize("make", [rrdbnet, srvgg])
def test_in_half_precision_pixels_are_made_in_full(tmp_path: Path, make: Callable[[], UpscalingNetwork]) -> None:
    """So that a smooth picture gets no steps: within two levels of what fp32 makes."""
    file = write(tmp_path / "x.safetensors", make())
    entry = ModelEntry(id="x", name="x", task="upscaling", path=file, single_file=True)
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        network = build_upscaler(entry, file, Device("cpu", 0, "CPU", dtype, True, 2**34)).network
        assert network is not None
        assert network(torch.rand(1, 3, 4, 4)).dtype == torch.float32
        made.append(enlarged(network, Image.linear_gradient("L").resize((40, 40)).convert("RGB"), network.scale))
    assert np.abs(made[0] - made[1]).mean() < 1


# ---------------------------------------------------------------- tiles


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(131, 77), (1, 1), (5, 200), (48, 48), (49, 97)])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_are_the_whole_picture_within_one_level(name: str, size: tuple[int, int], scale: int) -> None:
    network = NETWORKS[name]()
    if scale <= network.scale:
        whole, tiled = enlarged(network, noise(*size), scale), enlarged(network, noise(*size), scale, side=48)
        assert whole.shape == (size[1] * scale, size[0] * scale, 3)
        assert np.abs(whole - tiled).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (12, 12), (13, 100), (500, 7), (1024, 768)])
@pytest.mark.parametrize("side", [12, 48, 192])
def test_tiles_cover_each_pixel_once_and_are_as_many_as_was_counted(size: tuple[int, int], side: int) -> None:
    seen, found = np.zeros(size[::-1], int), list(tiles.split(*size, side))
    for tile in found:
        seen[tile.top : tile.bottom, tile.left : tile.right] += 1
        assert tile.right - tile.left <= side
        assert tile.bottom - tile.top <= side
    assert (seen == 1).all()
    assert len(found) == tiles.count(*size, side)


def test_a_smaller_scale_than_the_networks_is_the_whole_enlarged_and_made_smaller() -> None:
    network, picture = srvgg(4), noise(100, 60)
    whole = Image.fromarray(enlarged(network, picture, 4).astype(np.uint8)).resize((200, 120), Image.Resampling.LANCZOS)
    assert np.abs(enlarged(network, picture, 2, side=48) - np.asarray(whole, int)).max() <= 1


@pytest.mark.parametrize(
    ("own", "scale", "passes"),
    [(4, 4, [(1, 4)]), (4, 2, [(1, 2)]), (2, 4, [(1, 2), (2, 4)]), (2, 3, [(1, 2), (2, 3)]), (3, 4, [(1, 3), (3, 4)])],
)
def test_a_network_enlarges_its_own_picture_until_it_is_large_enough(
    own: int, scale: int, passes: list[tuple[int, int]]
) -> None:
    assert plan(own, scale) == passes
    told: list[tuple[int, int]] = []

    class Hooks:
        def on_load(self, fraction: float, text: str) -> None: ...

        def on_tile(self, done: int, of: int) -> None:
            told.append((done, of))

        def warn(self, text: str) -> None: ...

    made = run_passes(srvgg(own), noise(50, 30), scale, 24, Hooks())
    assert made.size == (50 * scale, 30 * scale)
    assert told == [(done, told[0][1]) for done in range(told[0][1] + 1)]
