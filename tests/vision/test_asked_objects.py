"""What a prompt asks for of what a detector knows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.starter.world.labels import NAMES
from api.starter.world.scene import ONE_OF, describe_scene, sample_scene
from api.starter.world.shapes import describe_shapes, sample_shapes
from api.vision.asked_objects import AskedObjects, AskedPlace, AskedThing, asked_objects
from api.vision.label_words import WORDS, plural_of, words_for

COCO = ("person", "dog", "cat", "bicycle", "knife", "orange", "bus", "teddy bear", "bear", "dining table")


def _asked(prompt: str, labels: tuple[str, ...] = NAMES) -> dict[str, tuple[int, bool]]:
    return {thing.label: (thing.count, thing.is_exact) for thing in asked_objects(prompt, labels).things}


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("a house", {"house": (1, True)}),
        ("the house", {"house": (1, True)}),
        ("the bright moon over the houses", {"moon": (1, True), "house": (1, False)}),
        ("the fish", {"fish": (1, False)}),
        ("the birds and the stars", {"birds": (1, False), "stars": (1, False)}),
        ("two houses, the house on the left is red", {"house": (2, True)}),
        ("a few houses", {"house": (1, False)}),
        ("a large red house", {"house": (1, True)}),
        ("Houses by the sea", {"house": (1, False)}),
        ("three purple squares", {"square": (3, True)}),
        ("3 large purple squares", {"square": (3, True)}),
        ("one red circle", {"circle": (1, True)}),
        ("hot-air balloon over a lake", {"balloon": (1, False)}),
        ("a cactus, two cacti", {"cactus": (2, True)}),
        ("many stars", {"stars": (1, False)}),
        ("three red stars", {"star": (3, True)}),
        ("three birds in the sky", {"birds": (1, False)}),
        ("a pine forest by day", {}),
        ("pine trees and a tree", {"pine tree": (1, False), "tree": (1, True)}),
        ("two lakes with a house", {"house": (1, True)}),
        ("a 50 speed limit sign", {"speed limit sign": (1, True)}),
        ("a no entry sign", {"no entry sign": (1, True)}),
        ("a house. A house", {"house": (1, True)}),
        ("a purple gradient", {}),
        ("", {}),
        ("🎈" * 50, {}),
    ],
)
def test_things_and_their_number(prompt: str, asked: dict[str, tuple[int, bool]]) -> None:
    assert _asked(prompt) == asked


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("một ngôi nhà và hai cây thông", {"house": (1, True), "pine tree": (2, True)}),
        ("ba hình tròn đỏ", {"circle": (3, True)}),
        ("đàn chim trên biển lúc hoàng hôn", {"birds": (1, False)}),
        ("Khinh Khí Cầu", {"balloon": (1, False)}),
        ("biển cấm rẽ trái bên đường", {"no left turn sign": (1, False)}),
        ("không có chim, có mặt trời", {"birds": (0, True), "sun": (1, False)}),
    ],
)
def test_vietnamese_prompts(prompt: str, asked: dict[str, tuple[int, bool]]) -> None:
    assert _asked(prompt) == asked


def test_letters_of_two_characters_are_read_as_one() -> None:
    import unicodedata

    assert _asked(unicodedata.normalize("NFD", "một chiếc thuyền buồm")) == {"boat": (1, True)}


@pytest.mark.parametrize(
    ("prompt", "absent"),
    [
        ("a lake without birds", {"birds"}),
        ("a city, no trees or houses", {"tree", "house"}),
        ("no small houses nor any boats", {"house", "boat"}),
        ("without a house, a boat", {"house"}),
    ],
)
def test_what_is_not_to_be_there(prompt: str, absent: set[str]) -> None:
    assert {label for label, (count, is_exact) in _asked(prompt).items() if (count, is_exact) == (0, True)} == absent


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("a red circle to the left of a blue square", ("circle", "left", "square")),
        ("a star right of two triangles", ("star", "right", "triangle")),
        ("the moon above a house", ("moon", "above", "house")),
        ("a boat under a rainbow", ("boat", "below", "rainbow")),
        ("hình tròn đỏ bên trái hình vuông xanh", ("circle", "left", "square")),
        ("mặt trăng ở trên ngôi nhà", ("moon", "above", "house")),
    ],
)
def test_how_two_things_stand_to_each_other(prompt: str, place: tuple[str, str, str]) -> None:
    assert asked_objects(prompt, NAMES).places == (AskedPlace(*place),)


@pytest.mark.parametrize(
    "prompt", ["birds over the sea and a boat", "a house, left of it a lake, a boat", "no birds above a house"]
)
def test_what_is_said_of_something_else_is_no_place(prompt: str) -> None:
    assert asked_objects(prompt, NAMES).places == ()


def test_two_of_a_label_that_stand_apart_are_two_things() -> None:
    asked = asked_objects("a red circle left of a blue circle", NAMES)
    assert asked == AskedObjects((AskedThing("circle", 2, is_exact=True),), (AskedPlace("circle", "left", "circle"),))


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("two women with their dogs", {"person", "dog"}),
        ("knives on a table", {"knife", "dining table"}),
        ("an orange bus", {"bus"}),
        ("a bowl of oranges", {"orange"}),
        ("a teddy bear", {"teddy bear"}),
        ("con chó và con mèo", {"dog", "cat"}),
    ],
)
def test_labels_of_other_detectors(prompt: str, labels: set[str]) -> None:
    assert set(_asked(prompt, COCO)) == labels


def test_a_label_without_an_entry_goes_by_itself_and_its_plural() -> None:
    assert _asked("three Robots and a fairy", ("robot", "Fairy")) == {"robot": (3, True), "Fairy": (1, True)}


def test_plurals() -> None:
    assert [plural_of(word) for word in ("fairy", "toy", "bus", "box", "church", "house")] == [
        "fairies", "toys", "buses", "boxes", "churches", "houses",
    ]  # fmt: skip


def test_every_label_is_found_by_every_one_of_its_words() -> None:
    for label in WORDS:
        for word in words_for(label):
            assert label in _asked(f"a picture of {word}", (label,)), word


def test_the_captions_of_the_starter_are_understood() -> None:
    """Of its own grammar: each named thing of a scene, and forms, numbers and places of shapes."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        scene = sample_scene(rng)
        named = tuple(thing for thing in scene.objects if rng.random() < 0.6)
        caption = describe_scene(scene, rng, named)
        asked = asked_objects(caption, NAMES)
        assert {thing.label for thing in asked.things} == {ONE_OF.get(thing, thing) for thing in named}, caption
        assert {thing.count for thing in asked.things} <= {1}, caption
        assert not {thing.label for thing in asked.things if thing.is_exact} & {
            "birds",
            "stars",
            "pine tree",
            "tree",
            "palm tree",
        }
        assert asked.places == (), caption
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    for _ in range(500):
        shapes = sample_shapes(rng)
        caption = describe_shapes(shapes, rng)
        asked = asked_objects(caption, NAMES)
        counts: dict[str, int] = {}
        for group in filter(None, (shapes.first, shapes.second)):
            counts[group.form] = counts.get(group.form, 0) + group.count
        assert {thing.label: thing.count for thing in asked.things} == counts, caption
        if shapes.second:
            one, other = shapes.first.form, shapes.second.form
            both = (AskedPlace(one, shapes.relation, other), AskedPlace(other, opposite[shapes.relation], one))
            assert len(asked.places) == 1, caption
            assert asked.places[0] in both, caption


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all(thing.label in NAMES for thing in asked_objects(text, NAMES).things)
