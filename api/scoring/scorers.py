"""The backends by name. Nothing of theirs is imported before one is asked for: a web process knows the names alone."""

from importlib import import_module
from typing import TYPE_CHECKING

from api.strict import nearest

if TYPE_CHECKING:
    from api.scoring.backends.layout import Scorer

DEFAULT = "heuristic"
SCORERS = {"heuristic": ("api.scoring.backends.heuristic", "HeuristicScorer")}


class UnknownScorer(ValueError):
    """The message names those that are known."""


def check_name(name: str) -> str:
    if name not in SCORERS:
        raise UnknownScorer(f"There is no backend '{name}'.{nearest(name, sorted(SCORERS))}")
    return name


def get_scorer(name: str) -> "Scorer":
    """For a worker. Raises UnknownScorer."""
    module, scorer = SCORERS[check_name(name)]
    return getattr(import_module(module), scorer)()
