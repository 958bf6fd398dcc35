"""The model cards beside the weights, with the figures of the last evaluation."""

import json
from pathlib import Path
from typing import Any

from api.starter.architecture import WEIGHTS

_BEGIN, _END = "<!-- figures: written by evaluate_starter -->", "<!-- end of figures -->"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _following(shares: dict[str, Any]) -> str:
    return f"{_percent(shares['facts'])}; {_percent(shares['all'])}"


def _things(shares: dict[str, float]) -> str:
    return ", ".join(f"{thing} {_percent(shares[thing])}" for thing in sorted(shares, key=lambda thing: shares[thing]))


def _best_of_five(best: dict[str, Any]) -> str:
    gain, low, high = (f"{100 * value:+.1f}" for value in best["gain"])
    return f"{_percent(best['one'])} → {_percent(best['best'])}; {gain} ({low} to {high}) points"


def _judge(shares: dict[str, float]) -> str:
    worst = min(shares, key=lambda name: shares[name])
    return f"{_percent(sum(shares.values()) / len(shares))}; {worst}: {_percent(shares[worst])}"


def _starter_figures(figures: dict[str, Any]) -> list[tuple[str, str]]:
    following, shapes, source = figures["following"], figures["shapes"], figures["img2img"]
    parts = " / ".join(_percent(following[name]) for name in ("landform", "time", "things"))
    strengths = ", ".join(map(str, source["strengths"]))
    return [
        (f"{figures['prompts']} held-out scenes, guidance 5: landform / time of day / named things right", parts),
        ("of the named things, one by one", _things(following["by_thing"])),
        ("of all facts asked for; all facts of a prompt at once", _following(following)),
        ("the same at guidance 1", _following(figures["following_without_guidance"])),
        (
            "coloured shapes found; relation right (held-out pairs)",
            f"{_percent(shapes['colours'])}; {_percent(shapes['relations'])}",
        ),
        ("autoencoder, PSNR of 200 held-out pictures", f"{figures['psnr']:.2f} dB"),
        (
            "best of five by starter-clip: all facts right, one sample → best; gain, 95 % interval",
            _best_of_five(figures["best_of_five"]),
        ),
        (
            f"img2img at strengths {strengths}: PSNR to the source, dB",
            ", ".join(f"{value:.1f}" for value in source["psnr_to_source"]),
        ),
        ("img2img: asked facts found", ", ".join(_percent(value) for value in source["facts_found"])),
        (
            "a picture of 20 steps with guidance; loading",
            f"{figures['seconds_per_picture']:.2f} s; {figures['loading_seconds']:.2f} s",
        ),
        ("the judge itself, on drawn pictures: mean of its questions; its worst", _judge(figures["judge"])),
    ]


def _clip_figures(figures: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("the true caption first among 100 different ones, 1,000 drawn pictures", _percent(figures["clip_first_of_100"])),
        (
            "of two drawings that differ in one fact, the one that the caption is true of fits better; 1,000 pairs",
            _percent(figures["clip_told_apart"]),
        ),
    ]


def _table(rows: list[tuple[str, str]]) -> str:
    lines = ["| figure | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def renew_card(card: Path, rows: list[tuple[str, str]]) -> None:
    """Put a table of figures where the card has its marks."""
    before, rest = card.read_text().split(_BEGIN)
    after = rest.split(_END)[1]
    card.write_text(f"{before}{_BEGIN}\n{_table(rows)}\n{_END}{after}")


def write_cards(weights: Path = WEIGHTS) -> None:
    """Renew the tables of figures from weights/figures.json; the rest of the cards is written by hand."""
    figures = json.loads((weights / "figures.json").read_text())
    renew_card(weights / "starter" / "README.md", _starter_figures(figures))
    renew_card(weights / "starter-clip" / "README.md", _clip_figures(figures))
