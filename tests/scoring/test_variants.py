"""Posters known by their Tailwind classes."""

from collections.abc import Sequence

import pytest

from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Layout, Verdict
from api.scoring.backends.measures import Measure
from api.scoring.backends.variant import find_color, palette, read_variant

PURPLE = "bg-gradient-to-br from-purple-500 to-pink-600"


def judge(title: str = "", description: str = "", **variant: str) -> Verdict:
    [verdict] = HeuristicScorer().score(None, [Layout(variant, title, description)])
    return verdict


def measure(verdict: Verdict, name: str) -> Measure:
    return next(measure for measure in verdict.measures if measure.name == name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("purple-500", (168, 85, 247)),
        ("pink-600", (219, 39, 119)),
        ("slate-950", (2, 6, 23)),
        ("white", (255, 255, 255)),
        ("[#1da1f2]", (29, 161, 242)),
        ("[#fff]", (255, 255, 255)),
        ("black/50", (128, 128, 128)),
        ("purple-550", None),
        ("nothing", None),
    ],
)
def test_colours_by_name(name: str, expected: Sequence[int] | None) -> None:
    assert find_color(name) == expected


def test_the_palette_is_whole() -> None:
    assert len(palette()) == 22 * 11 + 2


def test_a_gradient_has_its_stops_in_order() -> None:
    style = read_variant({"gradient": "bg-gradient-to-r to-pink-600 via-white from-purple-500"})
    assert style.colors == [(168, 85, 247), (255, 255, 255), (219, 39, 119)]


@pytest.mark.parametrize(
    "classes",
    [
        PURPLE,
        "font-sans font-bold text-6xl tracking-tight leading-none uppercase text-white",
        "flex flex-col items-center justify-center text-center p-8 gap-4 min-h-screen rounded-xl shadow-2xl",
        "md:text-8xl hover:bg-blue-600 dark:text-slate-100 from-10% via-sky-500/20 text-[#ff0000]",
        "centered",
        "",
    ],
)
def test_tailwinds_classes_are_known(classes: str) -> None:
    assert read_variant({"layout": classes}).unknown == []


def test_an_unknown_class_is_named_in_a_warning_and_the_rest_is_scored() -> None:
    verdict = judge("A title", gradient=f"{PURPLE} from-mauve-500 sparkly")
    assert verdict.warnings == ("No Tailwind class that is known here: 'from-mauve-500', 'sparkly'; the rest was scored.",)
    assert verdict.scores == judge("A title", gradient=PURPLE).scores


def test_text_contrast_is_that_of_the_worst_place_along_the_gradient() -> None:
    verdict = judge(gradient="bg-gradient-to-r from-black to-white", font="text-white text-base")
    assert measure(verdict, "gradient_contrast").value == pytest.approx(1)
    assert measure(verdict, "gradient_contrast").score == 0


def test_plain_ground_gives_wcags_ratio() -> None:
    verdict = judge(gradient="bg-amber-400", font="text-blue-900")
    assert measure(verdict, "gradient_contrast").value == pytest.approx(6.2047, abs=5e-5)


def test_without_a_text_colour_the_better_of_black_and_white_is_taken() -> None:
    [dark] = [measure(judge(gradient="bg-slate-900"), "gradient_contrast")]
    assert "white text" in dark.sentence
    assert "black text" in measure(judge(gradient="bg-amber-200"), "gradient_contrast").sentence


def test_weak_contrast_is_a_reason_that_names_both_figures() -> None:
    verdict = judge(gradient="bg-yellow-200", font="text-white text-sm")
    assert verdict.reasoning[0].startswith(
        "Text contrast of 1.2:1 (white text at its worst place on the gradient) is below WCAG AA's 4.5:1"
    )


def test_a_long_title_at_a_large_size_scores_less_and_says_how_long() -> None:
    short, long = judge("Jazz night", font="text-6xl"), judge("Jazz night " * 20, font="text-6xl")
    assert measure(short, "title_lines").score > measure(long, "title_lines").score + 50
    assert any("The title of 220 characters needs 14 lines at 60 px" in sentence for sentence in long.reasoning)


def test_a_title_of_10_000_characters_is_scored() -> None:
    assert measure(judge("x" * 10_000, font="text-9xl"), "title_lines").score == 0


def test_a_centred_layout_is_better_balanced_than_one_in_a_corner() -> None:
    centred = judge("Jazz night", "On the lake", layout="flex flex-col items-center justify-center")
    corner = judge("Jazz night", "On the lake", layout="flex flex-col items-start justify-start")
    assert centred.scores["balance_score"] > corner.scores["balance_score"] + 20  # type: ignore[operator]


def test_the_variant_alone_says_that_there_was_no_image() -> None:
    verdict = judge("Jazz night", gradient=PURPLE)
    assert verdict.scored == ("variant",)
    assert verdict.reasoning[-1] == "There was no image: the variant alone was scored."


def test_what_nothing_speaks_about_has_no_score() -> None:
    assert judge(gradient=PURPLE).scores["balance_score"] is None
    assert judge(gradient=PURPLE).scores["color_harmony_score"] is not None
