"""Pictures are prepared for CLIP as its own image processor prepares them, faster, and whatever their shape."""

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil

from api.loading.clip_preprocessing import ClipPreprocessor, scaled_size

OPENAI = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
SHAPES = [(1280, 800), (800, 1280), (512, 512), (224, 224), (333, 1000), (65, 50), (2000, 1500), (225, 224)]


def drawn(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(size[0])
    coarse = rng.integers(0, 256, (max(2, size[1] // 8), max(2, size[0] // 8), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def levels_apart(processor: CLIPImageProcessorPil, picture: Image.Image) -> np.ndarray:
    """How far what the two give lies apart, in levels of 255."""
    preparation = ClipPreprocessor.of(processor)
    mine = preparation.to_tensor([preparation.preprocess(picture)])
    theirs = processor(images=[picture], return_tensors="pt")["pixel_values"]
    return ((mine - theirs).abs() / preparation.scale).numpy()


@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_they_are_the_processors_own_but_for_rounding(size: tuple[int, int]) -> None:
    apart = levels_apart(CLIPImageProcessorPil(**OPENAI), drawn(size))
    assert apart.max() < 2.01
    assert (apart > 0.01).mean() < 0.002


def test_a_processor_that_scales_to_a_square_is_followed() -> None:
    processor = CLIPImageProcessorPil(size={"height": 64, "width": 96}, do_center_crop=False, resample=2)
    apart = levels_apart(processor, drawn((500, 300)))
    assert apart.max() < 0.01


def test_a_processor_without_normalisation_is_followed() -> None:
    processor = CLIPImageProcessorPil(**OPENAI, do_normalize=False)
    preparation = ClipPreprocessor.of(processor)
    white = preparation.to_tensor([preparation.preprocess(Image.new("RGB", (300, 300), "white"))])
    assert white.min() == white.max() == 1.0


def test_a_processor_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="neither scales to a square nor cuts one out"):
        ClipPreprocessor.of(CLIPImageProcessorPil(**OPENAI, do_resize=False))


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (2, 5000)], ids=str)
def test_an_extreme_shape_is_seen_at_the_networks_size(size: tuple[int, int]) -> None:
    preparation = ClipPreprocessor.of(CLIPImageProcessorPil(**OPENAI))
    assert preparation.preprocess(Image.new("RGB", size, "red")).shape == (224, 224, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_a_picture_of_another_mode_is_seen_in_colour(mode: str) -> None:
    preparation = ClipPreprocessor.of(CLIPImageProcessorPil(**OPENAI))
    assert preparation.preprocess(Image.new("RGB", (30, 20), "white").convert(mode)).shape == (224, 224, 3)


def test_the_longer_side_is_rounded_down() -> None:
    assert scaled_size(1280, 800, 224) == (358, 224)
    assert scaled_size(800, 1280, 224) == (224, 358)
