"""The drawn roads: what is labelled is what was drawn, in the cells where it is."""

import numpy as np
import pytest

from api.starter.world.road import (
    CELLS,
    CLASSES,
    HEIGHT,
    MIRRORED,
    NOTHING,
    WIDTH,
    Placed,
    Road,
    cover,
    render_road,
    sample_road,
    targets_of,
)
from api.starter.world.road.ground import SKIES, SURFACES


def roads(count: int, seed: int = 0) -> list[Road]:
    rng = np.random.default_rng(seed)
    return [sample_road(rng) for _ in range(count)]


def test_the_same_facts_and_seed_give_the_same_pixels_and_labels() -> None:
    for road in roads(10):
        first, second = render_road(road, 3, 212, 120), render_road(road, 3, 212, 120)
        assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_another_seed_gives_another_drawing() -> None:
    road = Road("street", "day", (Placed("person", 0.0, 5.0),))
    assert not np.array_equal(render_road(road, 1)[0], render_road(road, 2)[0])


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("sky", SKIES)
def test_an_empty_road_has_no_labels_and_every_cell_is_normal(surface: str, sky: str) -> None:
    pixels, labels = render_road(Road(surface, sky), 5)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (labels == NOTHING).all()
    targets = targets_of(labels)
    assert targets.shape == (len(CELLS), len(CLASSES) + 1)
    assert (targets[:, -1] == 1).all()
    assert (targets[:, :-1] == 0).all()


@pytest.mark.parametrize("name", CLASSES)
def test_a_hazard_ahead_is_labelled_with_its_name_where_pixels_changed(name: str) -> None:
    placed = Placed(name, 0.0, 5.0)
    with_it, labels = render_road(Road("street", "day", (placed,)), 7)
    without, _ = render_road(Road("street", "day"), 7)
    assert set(np.unique(labels)) == {CLASSES.index(name), NOTHING}
    changed = (with_it != without).any(axis=-1)
    there = labels == CLASSES.index(name)
    assert not (changed & ~there).any()
    assert (changed & there).sum() > (0.25 if name == "bicycle" else 0.9) * there.sum()  # a bicycle's gaps count as itself
    found = {CELLS[cell] for cell in np.flatnonzero(targets_of(labels)[:, CLASSES.index(name)])}
    assert found
    assert all(xmin < WIDTH / 2 + 350 and xmax > WIDTH / 2 - 350 for xmin, _, xmax, _ in found)


def test_the_nearer_of_two_hazards_hides_the_other() -> None:
    near, far = Placed("vehicle", 0.0, 4.5), Placed("person", 0.0, 14.0)
    for order in ((near, far), (far, near)):
        _, labels = render_road(Road("street", "day", order), 3)
        assert (labels == CLASSES.index("vehicle")).sum() > 20 * (labels == CLASSES.index("person")).sum()


def test_a_hazard_is_in_a_cell_from_a_twelfth_of_it_on() -> None:
    labels = np.full((HEIGHT, WIDTH), NOTHING, np.uint8)
    xmin, ymin, xmax, ymax = CELLS[40]
    wide = round((xmax - xmin) * 0.09)
    labels[ymin:ymax, xmin : xmin + wide] = CLASSES.index("pole")
    assert cover(labels)[40, CLASSES.index("pole")] == pytest.approx(0.09, abs=0.01)
    targets = targets_of(labels)
    assert targets[40, CLASSES.index("pole")] == 1
    assert targets[40, -1] == 0
    assert targets[:, CLASSES.index("pole")].sum() == 1
    labels[ymin:ymax, xmin + wide // 2 : xmin + wide] = NOTHING
    assert targets_of(labels)[40, -1] == 1


def test_mirrored_labels_have_the_targets_of_the_cells_on_the_other_side() -> None:
    for seed, road in enumerate(roads(5, seed=2)):
        _, labels = render_road(road, seed)
        assert np.abs(cover(labels[:, ::-1]) - cover(labels)[MIRRORED]).max() < 0.02


def test_cells_lie_within_the_picture_and_do_not_overlap() -> None:
    taken = np.zeros((HEIGHT, WIDTH), int)
    for xmin, ymin, xmax, ymax in CELLS:
        assert 0 <= xmin < xmax <= WIDTH
        assert 0 <= ymin < ymax <= HEIGHT
        taken[ymin:ymax, xmin:xmax] += 1
    assert taken.max() == 1


def test_every_class_and_the_empty_road_come_often_enough_to_learn_them() -> None:
    drawn = roads(600, seed=3)
    share = {name: np.mean([any(placed.name == name for placed in road.hazards) for road in drawn]) for name in CLASSES}
    assert min(share.values()) > 0.2
    assert 0.08 < np.mean([not road.hazards for road in drawn]) < 0.17
