import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

COLUMNS = {"measure": "its measure", "overall": "overall", "named": "named", "alarm": "false alarm"}


class Command(BaseCommand):
    help = "Measure the heuristic scorer on drawn posters, good against spoiled by one known fault, which it was not made on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--pairs", type=int, default=1000, help="Of all faults together.")
        parser.add_argument(
            "--seed", type=int, default=None, help="Other posters, for development. Default: the held-out ones."
        )
        parser.add_argument("--output", type=Path, default=None, help="Default: DATA_DIR/scoring-figures.json.")

    def handle(self, *args: Any, **options: Any) -> None:
        from tqdm import tqdm

        from api.starter import scoring_figures  # imports skia, which only training and evaluation need

        seed = scoring_figures.SEED if options["seed"] is None else options["seed"]
        outcomes = []
        for pair in tqdm(scoring_figures.pairs(options["pairs"], seed), total=options["pairs"], unit="pair"):
            outcomes += scoring_figures.compare(*pair)
        found = scoring_figures.shares(outcomes)
        output = options["output"] or Path(settings.DATA_DIR) / "scoring-figures.json"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"pairs": options["pairs"], "seed": seed, "shares": found}, indent=1))
        self.stdout.write(table(found, scoring_figures.WANTED))
        self.stdout.write(f"Written to {output}")


def table(found: dict[str, dict[str, dict[str, float]]], wanted: dict[str, float]) -> str:
    """The share of pairs in which the good one is preferred; '!' where less than wanted."""
    lines = []
    for way, faults in found.items():
        title = "with the elements' boxes" if way == "boxes" else "from the picture alone"
        lines += ["", f"{title:28}" + "".join(f"{name:>14}" for name in COLUMNS.values())]
        lines += [f"{fault:28}" + "".join(cell(shares, name, wanted) for name in COLUMNS) for fault, shares in faults.items()]
    goals = ", ".join(f"{COLUMNS[name]} {100 * share:.0f} %" for name, share in wanted.items())
    return "\n".join([*lines, "", f"Wanted: {goals}. False alarm: the fault is told of the good one."])


def cell(shares: dict[str, float], name: str, wanted: dict[str, float]) -> str:
    mark = "!" if shares[name] < wanted.get(name, 0.0) else " "
    return f"{100 * shares[name]:>11.1f} %{mark}"
