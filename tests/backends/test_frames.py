"""What of a picture a model sees, and which pixels of it stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.images.backends.frames import fill_from_around
from api.images.backends.inputs import leaves_unchanged, network_mask, notes_on_source, unchanged_image
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.spec import Img2ImgSpec, Outpaint
from api.model_loader import ModelLoader
from api.specs import InputImage, InputMask
from tests.backends.conftest import FAMILIES
from tests.backends.recorder import Recorder, painting


def asked(image: Image.Image, mask: Image.Image | None = None, **fields: Any) -> ImageRequest:
    defaults = {
        "model_id": "sd1",
        "prompt": "a red circle",
        "width": 64,
        "height": 64,
        "steps": 2,
        "guidance_scale": 5.0,
        "seed": 1,
    }
    names = InputImage("a"), InputMask("b") if mask else None
    return ImageRequest(Img2ImgSpec(**{**defaults, **fields}, image=names[0], mask=names[1]), image, mask)


def spot(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """White there, black elsewhere."""
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return mask


SIZES = [
    ((300, 200), (140, 90, 170, 120)),
    ((61, 47), (0, 0, 5, 5)),
    ((64, 64), (10, 10, 30, 30)),
    ((500, 20), (490, 0, 500, 20)),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_around_a_mask_the_result_is_the_picture_in_its_own_size_with_its_own_pixels_outside(
    loader: ModelLoader, family: str
) -> None:
    for size, box in SIZES:
        mask = spot(size, box)
        request = asked(painting(*size), mask, model_id=family, inpaint_area="mask", strength=1.0)
        [[made]] = generate(loader, [request], Recorder())
        outside = np.asarray(mask) == 0
        assert made.size == size
        assert np.array_equal(np.asarray(made)[outside], np.asarray(painting(*size))[outside])
        assert not np.array_equal(np.asarray(made)[~outside], np.asarray(painting(*size))[~outside])


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), "red")
    picture.paste((0, 0, 255), (width // 2, 0, width, height))
    return picture


def test_a_wide_picture_is_cropped_or_stretched_or_contained_with_its_edges_repeated() -> None:
    wide = halves(128, 64)
    cover, stretch, contain = (np.asarray(asked(wide, fit=fit).frame.view) for fit in ("cover", "stretch", "contain"))
    assert {one.shape for one in (cover, stretch, contain)} == {(64, 64, 3)}
    assert np.array_equal(cover, np.asarray(wide.crop((32, 0, 96, 64))))
    assert np.array_equal(stretch, np.asarray(wide.resize((64, 64), Image.Resampling.LANCZOS)))
    inner = np.asarray(wide.resize((64, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(contain, np.pad(inner, ((16, 16), (0, 0), (0, 0)), mode="edge"))


@pytest.mark.parametrize("fit", ["cover", "stretch", "contain"])
def test_the_mask_comes_to_the_size_as_the_picture_does(fit: str) -> None:
    picture, mask = halves(128, 64), spot((128, 64), (64, 0, 128, 64))
    frame = asked(picture, mask, fit=fit).frame
    assert frame.view_mask is not None
    blue = np.asarray(frame.view)[..., 2] > 128
    assert (blue == (np.asarray(frame.view_mask) > 128)).mean() > 0.98


GROWN = [{"right": 40}, {"left": 1}, {"top": 7, "bottom": 33}, {"left": 20, "right": 30, "top": 10, "bottom": 5}]


@pytest.mark.parametrize("area", ["whole", "mask"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_outpainted_picture_has_the_source_s_pixels_inside(loader: ModelLoader, family: str, area: str) -> None:
    source = painting(90, 70)
    for sides in GROWN:
        by = Outpaint(**sides)
        [[made]] = generate(loader, [asked(source, model_id=family, outpaint=by, inpaint_area=area, strength=1.0)], Recorder())
        assert made.size == (90 + by.left + by.right, 70 + by.top + by.bottom)
        inside = made.crop((by.left, by.top, by.left + 90, by.top + 70))
        assert inside.tobytes() == source.tobytes()
        unpainted = unchanged_image(asked(source, outpaint=by))
        assert (np.asarray(made) != np.asarray(unpainted)).any()


def test_a_mask_and_an_outpainted_border_are_painted_together(loader: ModelLoader) -> None:
    mask, by = spot((64, 64), (10, 10, 20, 20)), Outpaint(left=16)
    [[made]] = generate(loader, [asked(painting(), mask, outpaint=by, strength=1.0)], Recorder())

    changed = (np.asarray(made)[:, 16:] != np.asarray(painting())).any(axis=2)
    assert changed[10:20, 10:20].any()
    assert not changed[np.asarray(mask) == 0].any()


def test_an_inverted_mask_keeps_what_is_white(loader: ModelLoader) -> None:
    mask = spot((64, 64), (0, 0, 32, 64))
    [[made]] = generate(loader, [asked(painting(), mask, mask_invert=True, strength=1.0)], Recorder())

    assert np.array_equal(np.asarray(made)[:, :32], np.asarray(painting())[:, :32])
    assert not np.array_equal(np.asarray(made)[:, 32:], np.asarray(painting())[:, 32:])


def test_an_inverted_mask_does_not_invert_the_border() -> None:
    request = asked(painting(), spot((64, 64), (0, 0, 64, 64)), mask_invert=True, outpaint=Outpaint(right=64), width=128)

    seen = np.asarray(request.frame.view_mask)
    assert (seen[:, :64].max(), seen[:, 64:].min()) == (0, 255)


def test_a_blurred_mask_mixes_at_its_edge_alone_and_the_model_paints_the_sharp_one() -> None:
    mask = spot((64, 64), (24, 24, 40, 40))
    request = asked(painting(), mask, mask_blur=2.0)
    made = Image.new("RGB", (64, 64), "lime")

    kept = np.asarray(request.frame.lay_back(made)) == np.asarray(painting())
    assert network_mask(request, 8).tobytes() == mask.tobytes()
    assert kept.all(axis=2)[:14].all()
    assert np.array_equal(np.asarray(request.frame.lay_back(made))[32, 32], (0, 255, 0))
    edge = np.asarray(request.frame.lay_back(made))[32, 24]
    assert not np.array_equal(edge, (0, 255, 0))
    assert not np.array_equal(edge, np.asarray(painting())[32, 24])


@pytest.mark.parametrize(("padding", "box"), [(0, (100, 40, 120, 60)), (10, (90, 30, 130, 70)), (500, (0, 0, 300, 100))])
def test_the_part_around_a_mask_is_wider_by_its_padding_and_ends_at_the_picture_s_edge(
    padding: int, box: tuple[int, int, int, int]
) -> None:
    request = asked(painting(300, 100), spot((300, 100), (100, 40, 120, 60)), inpaint_area="mask", mask_padding=padding)

    assert request.frame.box == box


def test_the_part_around_a_mask_has_the_shape_that_the_model_works_in_where_there_is_room() -> None:
    mask = spot((300, 100), (0, 40, 20, 60))

    assert asked(painting(300, 100), mask, inpaint_area="mask", mask_padding=0, width=128).frame.box == (0, 40, 40, 60)


def test_what_has_another_shape_is_seen_whole_with_its_edges_repeated() -> None:
    request = asked(painting(300, 20), spot((300, 20), (0, 0, 300, 20)), inpaint_area="mask")

    left, top, right, bottom = request.frame.inner
    assert (right - left, bottom - top) == (64, 4)
    seen = np.asarray(request.frame.view)
    assert np.array_equal(seen[0], seen[top])


def test_what_is_seen_pixel_by_pixel_is_not_resampled() -> None:
    request = asked(painting(), outpaint=Outpaint(right=64), width=128)

    assert request.frame.view.crop((0, 0, 64, 64)).tobytes() == painting().tobytes()


# -- What painting begins with -------------------------------------------------------------------------------------------------


def test_the_colours_around_fill_what_is_masked() -> None:
    picture = Image.new("RGB", (90, 50), "red")
    picture.paste("blue", (45, 0, 90, 50))
    mask = spot((90, 50), (20, 10, 70, 40))
    picture.paste("lime", (20, 10, 70, 40))

    filled = np.asarray(fill_from_around(picture, mask))
    assert filled[..., 1].max() <= 1
    assert filled[25, 22, 0] > 200
    assert filled[25, 67, 2] > 200
    assert np.array_equal(filled[np.asarray(mask) == 0], np.asarray(picture)[np.asarray(mask) == 0])


def test_a_fill_of_what_is_masked_everywhere_is_the_picture() -> None:
    white = Image.new("L", (64, 64), 255)

    assert fill_from_around(painting(), white).tobytes() == painting().tobytes()


def test_an_outpainted_border_begins_with_the_colours_around_whatever_the_fill() -> None:
    for fill in ("original", "blur"):
        seen = np.asarray(
            asked(Image.new("RGB", (64, 64), "teal"), outpaint=Outpaint(left=64), width=128, fill=fill).frame.view
        )
        assert np.array_equal(seen, np.full_like(seen, 0) + np.array([0, 128, 128], np.uint8))


def test_each_fill_makes_another_picture_and_keeps_what_is_not_masked(loader: ModelLoader) -> None:
    mask = spot((64, 64), (16, 16, 48, 48))
    for model in ("sd1", "sdxl"):
        made = [
            generate(loader, [asked(painting(), mask, model_id=model, fill=fill, strength=0.6, steps=5)], Recorder())[0][0]
            for fill in ("original", "blur", "noise", "empty")
        ]
        assert len({picture.tobytes() for picture in made}) == 4
        for picture in made:
            outside = np.asarray(mask) == 0
            assert np.array_equal(np.asarray(picture)[outside], np.asarray(painting())[outside])


def test_at_full_strength_a_fill_of_latents_changes_nothing(loader: ModelLoader) -> None:
    mask = spot((64, 64), (16, 16, 48, 48))
    [original], [empty] = (
        generate(loader, [asked(painting(), mask, fill=fill, strength=1.0)], Recorder())[0] for fill in ("original", "empty")
    )

    assert original.tobytes() == empty.tobytes()


# -- Where nothing is painted --------------------------------------------------------------------------------------------------


def test_without_a_step_the_result_is_the_picture_in_its_own_size(loader: ModelLoader, hooks: Recorder) -> None:
    mask = spot((300, 200), (10, 10, 30, 30))
    [[made]] = generate(loader, [asked(painting(300, 200), mask, inpaint_area="mask", strength=0.0)], hooks)

    assert made.tobytes() == painting(300, 200).tobytes()
    assert "left as it is" in hooks.warnings[0]


def test_an_outpaint_of_nothing_is_no_inpainting() -> None:
    assert asked(painting(), outpaint=Outpaint()).spec.task == "image-to-image"


def test_a_black_mask_around_which_the_model_should_look_paints_nothing() -> None:
    request = asked(painting(300, 200), spot((300, 200), (0, 0, 0, 0)), inpaint_area="mask")

    assert leaves_unchanged(request)
    assert "paints nothing" in notes_on_source(request)[0]


@pytest.mark.parametrize("size", [(1, 1), (2000, 1), (1, 999)])
def test_the_smallest_pictures_are_outpainted(loader: ModelLoader, size: tuple[int, int]) -> None:
    source = Image.new("RGB", size, "orange")
    [[made]] = generate(loader, [asked(source, outpaint=Outpaint(left=3, bottom=2), strength=1.0)], Recorder())

    assert made.size == (size[0] + 3, size[1] + 2)
    assert made.crop((3, 0, 3 + size[0], size[1])).tobytes() == source.tobytes()
