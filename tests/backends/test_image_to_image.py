from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from api.images.backends.inputs import network_mask, notes_on_mask, source_image, source_mask
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.model_loader import ModelLoader
from tests.backends.conftest import FAMILIES
from tests.backends.recorder import Recorder, painting, psnr, request


def half_mask() -> Image.Image:
    """White (repaint) on the right half."""
    mask = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(mask).rectangle((32, 0, 63, 63), fill=255)
    return mask


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_changes_a_picture(loader: ModelLoader, hooks: Recorder, family: str) -> None:
    asked = request(model_id=family, image=painting(), strength=0.6, steps=4)

    [[picture]] = generate(loader, [asked], hooks)

    assert picture.size == (64, 64)
    assert picture.tobytes() != painting().tobytes()


def test_strength_is_the_part_of_the_steps_that_is_run(loader: ModelLoader, hooks: Recorder) -> None:
    generate(loader, [request(image=painting(), strength=0.5, steps=8)], hooks)

    assert hooks.steps[-1] == (4, 4)


def test_no_strength_leaves_the_picture_as_it_is_and_says_so(loader: ModelLoader, hooks: Recorder) -> None:
    [[picture]] = generate(loader, [request(image=painting(), strength=0.0)], hooks)

    assert picture.tobytes() == painting().tobytes()
    assert "left as it is" in hooks.warnings[0]


def test_a_source_in_a_batch_gives_the_picture_that_it_gives_alone(loader: ModelLoader) -> None:
    mine = request(image=painting(), strength=0.7, steps=4, seeds=(3,))
    theirs = request(image=painting().rotate(90), strength=0.7, steps=4, seeds=(4,), prompt="blue")

    [[alone]] = generate(loader, [mine], Recorder())
    [_, [batched]] = generate(loader, [theirs, mine], Recorder())

    assert psnr(alone, batched) >= 40


@pytest.mark.parametrize("family", FAMILIES)
def test_inpainting_keeps_the_pixels_outside_the_mask_exactly(loader: ModelLoader, hooks: Recorder, family: str) -> None:
    asked = request(model_id=family, image=painting(), mask=half_mask(), strength=1.0, steps=2)

    [[picture]] = generate(loader, [asked], hooks)

    made, source = np.asarray(picture), np.asarray(painting())
    assert np.array_equal(made[:, :32], source[:, :32])
    assert not np.array_equal(made[:, 32:], source[:, 32:])


def test_a_source_of_another_shape_is_cropped_at_the_centre_never_stretched() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))

    fitted = source_image(request(image=wide))

    assert [fitted.getpixel(place) for place in ((8, 32), (32, 2), (55, 61))] == [(0, 0, 255)] * 3


def test_a_mask_of_another_size_is_cut_as_the_picture_is() -> None:
    mask = Image.new("L", (30, 10), 0)
    mask.paste(255, (10, 0, 20, 10))

    fitted = source_mask(request(image=painting(300, 100), mask=mask))

    assert fitted.size == (64, 64)
    assert np.asarray(fitted)[:, 8:56].min() == 255


def test_transparency_is_laid_on_white() -> None:
    assert source_image(request(image=Image.new("RGBA", (64, 64), (0, 0, 0, 0)))).getpixel((5, 5)) == (255, 255, 255)


# -- Masks that say little -----------------------------------------------------------------------------------------------------


def inpaint(mask: Image.Image, **fields: Any) -> ImageRequest:
    return request(image=painting(), mask=mask, strength=1.0, **fields)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "its brightest value is 0 of 255"), (100, "its brightest value is 100 of 255")]
)
def test_a_mask_that_paints_nothing_runs_no_step_and_says_so(
    loader: ModelLoader, hooks: Recorder, value: int, said: str
) -> None:
    [pictures] = generate(loader, [inpaint(Image.new("L", (64, 64), value), seeds=(1, 2))], hooks)

    assert [picture.tobytes() for picture in pictures] == [painting().tobytes()] * 2
    assert hooks.steps == []
    assert said in hooks.warnings[0]


def test_a_mask_whose_white_is_cropped_away_paints_nothing(loader: ModelLoader, hooks: Recorder) -> None:
    mask = Image.new("L", (192, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    asked = request(image=painting(192, 64), mask=mask, strength=1.0)

    assert generate(loader, [asked], hooks)[0]
    assert hooks.steps == []
    assert "paints nothing" in hooks.warnings[0]


def test_only_the_job_of_a_mask_that_paints_nothing_has_the_warning(loader: ModelLoader, hooks: Recorder) -> None:
    outcomes = generate(loader, [inpaint(Image.new("L", (64, 64), 0)), inpaint(half_mask())], hooks)
    [alone] = generate(loader, [inpaint(half_mask())], Recorder())

    assert outcomes[0][0].tobytes() == painting().tobytes()
    assert psnr(outcomes[1][0], alone[0]) >= 40
    assert hooks.warned == [0]


def test_a_mask_of_zeros_and_ones_is_scaled_and_says_so(loader: ModelLoader) -> None:
    ones = half_mask().point(lambda value: value // 255)
    told, scaled = Recorder(), Recorder()

    [[picture]] = generate(loader, [inpaint(ones)], told)
    [[expected]] = generate(loader, [inpaint(half_mask())], scaled)

    assert picture.tobytes() == expected.tobytes()
    assert "1 was read as white" in told.warnings[0]
    assert scaled.warnings == []


def test_a_white_mask_paints_everything(loader: ModelLoader, hooks: Recorder) -> None:
    [[picture]] = generate(loader, [inpaint(Image.new("L", (64, 64), 255))], hooks)

    assert (np.asarray(picture) != np.asarray(painting())).any(axis=2).mean() > 0.9
    assert hooks.warnings == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_finer_than_the_network_s_cells_is_painted(loader: ModelLoader, hooks: Recorder, family: str) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (34, 34, 37, 37))

    [[picture]] = generate(loader, [inpaint(mask, model_id=family)], hooks)

    changed = (np.asarray(picture) != np.asarray(painting())).any(axis=2)
    assert changed[34:37, 34:37].all()
    assert changed.sum() == 9
    assert np.asarray(network_mask(inpaint(mask), 8))[32:40, 32:40].min() == 255


def test_a_mask_that_the_network_sees_is_left_as_it_is() -> None:
    assert network_mask(inpaint(half_mask()), 8).tobytes() == half_mask().tobytes()


@pytest.mark.parametrize(
    ("size", "stretched"), [((64, 64), False), ((33, 33), False), ((7, 7), False), ((64, 48), True), ((96, 64), True)]
)
def test_a_mask_of_another_shape_is_stretched_and_says_so(size: tuple[int, int], stretched: bool) -> None:
    notes = notes_on_mask(inpaint(Image.new("L", size, 255)))

    assert [("stretched" in note) for note in notes] == [True] * stretched
