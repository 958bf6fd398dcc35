"""Where the things of the world are seen: boxes that the canvas records, and the traffic signs."""

import numpy as np
import pytest

from api.starter import world
from api.starter.detector.drawings import Drawing, draw, for_evaluation, for_training, moved
from api.starter.world.canvas import Box, Canvas
from api.starter.world.labels import NAMES
from api.starter.world.light import light_of
from api.starter.world.objects import GROUND, draw_sun
from api.starter.world.scene import Scene
from api.starter.world.shapes import Group, Shapes
from api.starter.world.signs import BLUE, RED, SIGNS, WHITE, YELLOW, Sign, SignPicture, sample_signs
from api.vision.label_words import vietnamese

MEANS = [
    141.33,
    105.05,
    120.38,
    228.66,
    175.73,
    55.12,
    207.2,
    228.91,
    47.08,
    121.46,
    77.91,
    249.91,
    226.59,
    215.22,
    243.67,
    152.43,
    167.27,
    217.62,
    56.04,
    221.41,
    236.56,
    125.24,
    171.24,
    233.5,
]
"""Of the pixels of the first pictures of seed 41, as they were when the starter models learnt from them."""


def _boxes(picture: world.Picture | SignPicture, seed: int = 0, size: int = 256) -> list[Box]:
    return world.render_with_boxes(picture, seed, size)[1]


def test_the_pictures_of_a_seed_are_those_that_the_models_learnt_from() -> None:
    rng = np.random.default_rng(41)
    means = [float(world.render(world.sample(rng), seed).mean()) for seed in range(len(MEANS))]
    assert means == pytest.approx(MEANS, abs=0.05)


def test_recording_boxes_changes_no_pixel() -> None:
    rng = np.random.default_rng(7)
    for seed in range(80):
        picture = world.sample(rng)
        assert np.array_equal(world.render(picture, seed), world.render_with_boxes(picture, seed)[0])


@pytest.mark.parametrize("thing", GROUND)
@pytest.mark.parametrize("seed", range(5))
def test_a_box_holds_every_drawn_pixel_and_touches_the_outermost(thing: str, seed: int) -> None:
    canvas = Canvas(256, with_boxes=True)
    canvas.gradient(0, 128, [(1, 2, 3)] * 2)
    before = canvas.pixels()
    with canvas.labelled(thing):
        GROUND[thing](canvas, light_of("day", "clear"), 40 + 12 * seed, 100, np.random.default_rng(seed))
    drawn = (canvas.pixels() != before).any(axis=-1)
    rows, columns = np.nonzero(drawn.any(axis=1))[0], np.nonzero(drawn.any(axis=0))[0]
    assert canvas.boxes() == [Box(thing, columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def test_the_box_of_the_sun_is_its_disc_without_the_glow() -> None:
    canvas = Canvas(256, with_boxes=True)
    canvas.gradient(0, 128, [(60, 120, 200)] * 2)
    draw_sun(canvas, light_of("day", "clear"), 64, 64, np.random.default_rng(0))
    [box] = canvas.boxes()
    assert 2 * 18 <= box.x1 - box.x0 <= 2 * 24 + 2
    assert abs((box.x1 - box.x0) - (box.y1 - box.y0)) <= 1


def test_a_glow_hides_nothing_and_a_wall_does() -> None:
    canvas = Canvas(256, with_boxes=True)
    canvas.gradient(0, 128, [(10, 10, 10)] * 2)
    with canvas.labelled("house"):
        canvas.rect(20, 20, 40, 40, (200, 0, 0))
    canvas.glow(40, 40, 60, (255, 255, 255), 0.5)
    canvas.hide_covered()
    assert canvas.boxes() == [Box("house", 40, 40, 120, 120)]
    canvas.rect(0, 40, 128, 88, (0, 0, 0))
    canvas.hide_covered()
    assert canvas.boxes() == [Box("house", 40, 40, 120, 80)]
    canvas.rect(0, 28, 128, 100, (0, 0, 0))
    canvas.hide_covered()
    assert canvas.boxes() == []


def test_every_thing_of_a_scene_that_nothing_hides_has_its_box() -> None:
    scene = Scene("meadow", "day", "clear", ("sun", "birds", "balloon", "trees", "house"))
    for seed in range(20):
        labels = [box.label for box in _boxes(scene, seed)]
        assert {"sun", "birds", "balloon", "house"} <= set(labels), seed
        assert labels.count("tree") in (1, 2)


def test_shapes_have_a_box_each_at_their_places() -> None:
    boxes = _boxes(Shapes(Group("star", "red", 3)))
    assert [box.label for box in boxes] == ["star"] * 3
    left, right = sorted(_boxes(Shapes(Group("circle", "red"), Group("square", "blue"), "right")), key=lambda box: box.x0)
    assert (left.label, right.label) == ("square", "circle")


def test_boxes_lie_within_the_picture_and_have_known_labels() -> None:
    rng = np.random.default_rng(5)
    for seed in range(120):
        picture = sample_signs(rng) if seed % 2 else world.sample(rng)
        for box in _boxes(picture, seed):
            assert box.label in NAMES
            assert 0 <= box.x0 < box.x1 <= 256
            assert 0 <= box.y0 < box.y1 <= 256


@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_is_boxed_within_its_circle(name: str) -> None:
    plain = Scene("hills", "day", "clear", ())
    [box] = _boxes(SignPicture(plain, (Sign(name, 64, 60, 24),), has_poles=False))
    assert box.label == name
    assert 2 * (64 - 24) - 2 <= box.x0 < box.x1 <= 2 * (64 + 24) + 2
    assert 2 * (60 - 24) - 2 <= box.y0 < box.y1 <= 2 * (60 + 24) + 2


def _share(name: str, colour: tuple[int, int, int], warning: tuple[int, int, int] = YELLOW) -> float:
    """Of the sign's box."""
    pixels, [box] = world.render_with_boxes(
        SignPicture(Scene("hills", "day", "clear", ()), (Sign(name, 64, 60, 30, warning),), has_poles=False), 0, 256
    )
    part = pixels[box.y0 : box.y1, box.x0 : box.x1].astype(int)
    return float((np.abs(part - colour).sum(axis=-1) < 40).mean())


def test_the_colours_of_signs_are_those_of_the_convention() -> None:
    for prohibition in (
        "road closed sign",
        "no entry sign",
        "speed limit sign",
        "no left turn sign",
        "no parking sign",
        "stop sign",
    ):
        assert _share(prohibition, RED) > 0.2, prohibition
    for order in ("go straight sign", "roundabout sign", "one way sign"):
        assert _share(order, BLUE) > 0.35, order
    for warning in ("give way sign", "crossroads sign", "pedestrian crossing sign"):
        assert _share(warning, YELLOW) > 0.1, warning
        assert _share(warning, WHITE, WHITE) > 0.1, warning
        assert _share(warning, RED) > 0.2, warning


def test_give_way_stands_on_its_point_and_other_warnings_on_their_side() -> None:
    def widest_row(name: str) -> float:
        pixels, [box] = world.render_with_boxes(
            SignPicture(Scene("sea", "night", "clear", ()), (Sign(name, 64, 60, 30),), has_poles=False), 0, 256
        )
        red = (np.abs(pixels.astype(int) - RED).sum(axis=-1) < 40).any(axis=1)
        reach = [
            np.ptp(np.nonzero(np.abs(row.astype(int) - RED).sum(axis=-1) < 40)[0]) if hit else 0
            for row, hit in zip(pixels, red, strict=True)
        ]
        return (int(np.argmax(reach)) - box.y0) / (box.y1 - box.y0)

    assert widest_row("give way sign") < 0.3
    assert widest_row("crossroads sign") > 0.7


def test_every_label_is_known_once_and_has_a_vietnamese_name() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(SIGNS) <= set(NAMES)
    assert [name for name in NAMES if vietnamese(name) == name and name != "pizza"] == []


# ---------------------------------------------------------------- what the detector sees


def _stream(seed: int, count: int) -> list[Drawing]:
    stream = for_training(seed)
    return [next(stream) for _ in range(count)]


def test_the_same_seed_gives_the_same_drawings() -> None:
    for one, other in zip(_stream(3, 12), _stream(3, 12), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.boxes, other.boxes)


def test_most_drawings_show_something_and_half_of_them_signs() -> None:
    drawings = list(for_evaluation(100))
    signs = {NAMES.index(name) for name in SIGNS}
    assert sum(len(drawing.classes) > 0 for drawing in drawings) > 80
    assert 25 < sum(bool(signs & set(drawing.classes.tolist())) for drawing in drawings) < 55


def test_boxes_of_a_small_drawing_are_enlarged_with_it() -> None:
    shapes = Shapes(Group("square", "red"))
    small, large = draw(shapes, 4, 128), draw(shapes, 4, 256)
    assert small.pixels.shape == large.pixels.shape
    assert np.abs(small.boxes - large.boxes).max() <= 2


def test_boxes_move_with_their_picture() -> None:
    rng = np.random.default_rng(0)
    shapes = draw(Shapes(Group("square", "red")), 4)
    for _ in range(40):
        drawing = moved(shapes, rng)
        red = np.abs(drawing.pixels.astype(int) - (222, 44, 44)).sum(axis=-1) < 60
        for x0, y0, x1, y1 in drawing.boxes:
            rows, columns = np.nonzero(red)
            assert (
                np.abs(np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) - (x0, y0, x1, y1)).max() <= 3
            )
