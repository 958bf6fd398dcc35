"""Event posters: good ones keep the rules that the spoiled ones break, one each."""

from itertools import combinations

import numpy as np
import pytest

from api.scoring.backends import balance, composition
from api.starter.world.posters import FAULTS, EventPoster, render_poster, sample_poster, spoil
from api.starter.world.posters.palettes import PALETTES, Palette, clashing, contrast
from api.starter.world.posters.parts import TEXTS, Part

Pair = tuple[EventPoster, EventPoster]


def posters(count: int = 40, seed: int = 7) -> list[EventPoster]:
    return [sample_poster(np.random.default_rng([seed, place])) for place in range(count)]


def pairs(fault: str, count: int = 40) -> list[Pair]:
    rng = np.random.default_rng(8)
    tried = ((good, spoil(good, fault, rng)) for good in posters(count))
    return [(good, spoiled) for good, spoiled in tried if spoiled]


def boxes(poster: EventPoster) -> list[balance.AreaBox]:
    return [(p.x, p.y, p.w, p.h) for p in poster.parts if p.kind != "card"]


def free(poster: EventPoster) -> float:
    return composition.white_space(boxes(poster), poster.width, poster.height)


def texts(poster: EventPoster) -> list[str]:
    return [" ".join(part.lines) for part in poster.parts]


def places(poster: EventPoster) -> list[tuple[float, float, float, float]]:
    return [(p.x, p.y, p.w, p.h) for p in poster.parts]


def test_the_same_poster_gives_the_same_pixels() -> None:
    for poster in posters(6):
        assert np.array_equal(render_poster(poster), render_poster(poster))


def test_a_poster_is_drawn_at_its_own_size_and_at_any_other() -> None:
    for poster in posters(4):
        assert render_poster(poster).shape == (poster.height, poster.width, 3)
        assert render_poster(poster.scaled(0.3)).shape == (round(poster.height * 0.3), round(poster.width * 0.3), 3)


def test_posters_and_pages_come_in_about_two_sizes() -> None:
    sizes = {(poster.width, poster.height) for poster in posters(100)}
    assert {width > 1000 for width, _ in sizes} == {True, False}
    assert all(600 <= width <= 680 or 1200 <= width <= 1360 for width, _ in sizes)


def test_elements_are_boxes_inside_the_page_and_name_title_text_and_button() -> None:
    for poster in posters():
        assert {"title", "text", "button"} <= {str(element["kind"]) for element in poster.elements}
        for x, y, w, h in boxes(poster):
            assert -0.01 <= x < x + w <= poster.width + 0.01
            assert -0.01 <= y < y + h <= poster.height + 0.01


def test_what_is_written_lies_where_its_box_says() -> None:
    poster = next(p for p in posters() if p.pattern == "plain" and not any(part.kind == "card" for part in p.parts))
    title = next(part for part in poster.parts if part.kind == "title")
    bare = EventPoster(**{**vars(poster), "parts": tuple(part for part in poster.parts if part is not title)})
    rows, columns = np.nonzero(np.any(render_poster(poster) != render_poster(bare), axis=2))
    assert title.x - 3 <= columns.min() <= title.x + 8
    assert title.right - 8 <= columns.max() <= title.right + 4
    assert title.y - 2 <= rows.min() < rows.max() <= title.bottom + 2


def test_no_element_of_a_good_poster_covers_another() -> None:
    assert [composition.overlap(boxes(poster)) for poster in posters()] == [0.0] * 40


def test_every_element_of_a_good_poster_stands_on_a_common_line() -> None:
    off = [composition.off_lines(boxes(poster), poster.width) for poster in posters()]
    assert np.percentile(off, 90) < 0.02


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.names[0])
def test_every_text_can_be_read_on_every_ground_of_its_palette(palette: Palette) -> None:
    grounds = (palette.top, palette.bottom, palette.surface)
    inks = (palette.ink, palette.muted, palette.accent)
    assert min(contrast(ink, ground) for ink in inks for ground in grounds) >= 4.5
    assert contrast(palette.on_accent, palette.accent) >= 4.5


def test_clashing_colours_are_saturated_hues_far_apart_on_which_text_can_still_be_read() -> None:
    for seed in range(30):
        palette = clashing(np.random.default_rng(seed))
        for ink in (palette.ink, palette.muted, palette.accent):
            assert min(contrast(ink, ground) for ground in (*palette.ground, palette.surface)) > 4.4
        assert all(max(colour) - min(colour) > 70 for colour in palette.ground)


# ---------------------------------------------------------------- each fault, and nothing else


@pytest.mark.parametrize("fault", FAULTS)
def test_most_posters_can_be_spoiled_in_each_way_and_say_so(fault: str) -> None:
    found = pairs(fault)
    assert len(found) >= 34
    assert {spoiled.fault for _, spoiled in found} == {fault}
    assert {good.fault for good, _ in found} == {""}


def test_pale_text_keeps_everything_in_its_place() -> None:
    for good, spoiled in pairs("contrast"):
        assert places(spoiled) == places(good)
        faded = [part.fade for part in spoiled.parts if part.kind in TEXTS]
        assert all(1.1 < ratio < 2.5 for ratio in faded)


def test_overlapping_elements_were_moved_up_or_down_alone() -> None:
    for good, spoiled in pairs("overlap"):
        assert composition.overlap(boxes(spoiled)) > 0.02
        assert [part.x for part in spoiled.parts] == [part.x for part in good.parts]


def test_misaligned_elements_stand_off_their_lines_and_cover_nothing() -> None:
    for good, spoiled in pairs("alignment"):
        assert composition.off_lines(boxes(spoiled), spoiled.width) > composition.off_lines(boxes(good), good.width) + 0.05
        assert composition.overlap(boxes(spoiled)) == 0
        assert [part.y for part in spoiled.parts] == [part.y for part in good.parts]


def test_one_sided_posters_are_whole_but_off_the_middle() -> None:
    worse = [
        balance.ngo_equilibrium(boxes(good), good.width, good.height)
        - balance.ngo_equilibrium(boxes(spoiled), spoiled.width, spoiled.height)
        for good, spoiled in pairs("balance")
    ]
    assert np.percentile(worse, 5) > 0
    assert all(composition.overlap(boxes(spoiled)) == 0 for _, spoiled in pairs("balance"))


def test_clashing_posters_differ_in_colours_alone() -> None:
    for good, spoiled in pairs("clash"):
        assert (places(spoiled), texts(spoiled)) == (places(good), texts(good))
        assert spoiled.palette != good.palette


def test_crowded_posters_keep_their_words_and_have_little_room_left() -> None:
    for good, spoiled in pairs("crowding"):
        assert next(t for p, t in zip(spoiled.parts, texts(spoiled), strict=True) if p.kind == "title") in texts(good)
        assert free(spoiled) < min(free(good), 0.5)
        assert len(spoiled.parts) > 2 * len(good.parts)
        assert composition.overlap(boxes(spoiled)) == 0


def touching(part: Part, other: Part) -> bool:
    return part.x < other.right and other.x < part.right and part.y < other.bottom and other.y < part.bottom


@pytest.mark.parametrize("fault", ["contrast", "alignment", "balance", "clash", "crowding"])
def test_only_overlap_makes_elements_touch(fault: str) -> None:
    for _, spoiled in pairs(fault, 20):
        parts = [part for part in spoiled.parts if part.kind != "card"]
        assert not any(touching(a, b) for a, b in combinations(parts, 2))


def test_a_variant_has_tailwinds_classes_and_the_event_its_words() -> None:
    poster = posters(1)[0]
    assert set(poster.variant) == {"gradient", "font", "layout"}
    assert poster.variant["gradient"].startswith("bg-gradient-to-b from-")
    assert poster.event_data["title"] == next(" ".join(p.lines) for p in poster.parts if p.kind == "title")
