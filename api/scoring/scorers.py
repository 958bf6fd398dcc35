"""The backends by name. Nothing of theirs is imported before one is asked for: a web process knows the names alone.

A new backend is a `Backend` in `SCORERS` and its class in backends/ (api/scoring/backends/layout.py has what that must do).
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from django.conf import settings

from api.catalog import ModelEntry
from api.strict import nearest
from config.catalog import get_catalog

if TYPE_CHECKING:
    from api.scoring.backends.layout import NetworkScorer, PageScorer

DEFAULT = "heuristic"
CLIP, HEAD, NIMA = "zero-shot-image-classification", "aesthetic-head", "image-aesthetics"
NETWORK = ("loader", "model_id")


@dataclass(frozen=True)
class Backend:
    """`scorer` of `module` is called with what it `needs`, by keyword: of loader, model_id, and name (what follows the colon)."""

    module: str
    scorer: str
    needs: tuple[str, ...] = ()
    task: str = ""
    """Of the catalog's models that it may use; empty: it uses none, and `model_id` is refused."""
    family: str = ""
    """Of those models; empty: any of the task."""
    default_model: str = ""
    """An id, or the name of the setting that has it."""
    needs_image: bool = False
    """It judges pictures alone: a variant without one is refused."""
    check_name: str = ""
    """For backends whose names have a second part, as custom:NAME has: 'module:function', which is given that part, gives what is to
    stand for it, and raises UnknownScorer where there is none such."""


SCORERS = {
    "heuristic": Backend("api.scoring.backends.heuristic", "HeuristicScorer"),
    "clip": Backend(
        "api.scoring.backends.zero_shot", "ZeroShotScorer", NETWORK, CLIP, default_model="DEFAULT_CLIP_MODEL", needs_image=True
    ),
    "uiclip": Backend("api.scoring.backends.uiclip", "UIClipScorer", NETWORK, CLIP, "uiclip", "uiclip", needs_image=True),
    "laion": Backend(
        "api.scoring.backends.laion", "LaionScorer", NETWORK, HEAD, "laion", "laion-aesthetic-v2", needs_image=True
    ),
    "nima": Backend("api.scoring.backends.nima", "NimaScorer", NETWORK, NIMA, default_model="starter-nima", needs_image=True),
    "custom": Backend(
        "api.scoring.taste.serving", "make_scorer", needs=("name",), check_name="api.scoring.taste.serving:settle_name"
    ),
}


class UnknownScorer(ValueError):
    """The message names those that are known."""


def check_name(name: str) -> str:
    """The name with nothing left open: custom:NAME becomes custom:NAME@VERSION. Raises UnknownScorer."""
    backend, head, colon, rest = find_backend(name), *name.partition(":")
    if backend.check_name:
        module, function = backend.check_name.split(":")
        return f"{head}:{getattr(import_module(module), function)(rest)}"
    if colon:
        raise UnknownScorer(f"There is no backend '{name}'.{nearest(name, sorted(SCORERS))}")
    return name


def find_backend(name: str) -> Backend:
    """By the part before the colon. Raises UnknownScorer."""
    head = name.partition(":")[0]
    if head not in SCORERS:
        raise UnknownScorer(f"There is no backend '{name}'.{nearest(head, sorted(SCORERS))}")
    return SCORERS[head]


def find_model(name: str, wanted: str | None) -> ModelEntry | None:
    """The model that the backend shall use: the wanted one, or its default; None for a backend without models.

    Raises UnknownModel, and UnknownScorer where the wanted one is not for this backend.
    """
    backend = find_backend(name)
    if not backend.task:
        if wanted:
            raise UnknownScorer(f"The backend '{name}' uses no model.")
        return None
    entry = get_catalog().get(wanted or str(getattr(settings, backend.default_model, backend.default_model)))
    if entry not in models_for(backend):
        known = ", ".join(model.id for model in models_for(backend)) or "none in the catalog"
        raise UnknownScorer(f"'{entry.id}' is not for the backend '{name}'. For it: {known}.")
    return entry


def models_for(backend: Backend) -> list[ModelEntry]:
    of_task = get_catalog().of_task(backend.task)
    return [entry for entry in of_task if backend.family in ("", entry.family)]


def get_scorer(name: str, *, loader: object = None, model_id: str = "") -> "PageScorer | NetworkScorer":
    """For a worker. `loader` is the worker's, for backends that need one. Raises UnknownScorer, UnknownModel."""
    backend = find_backend(check_name(name))
    entry = find_model(name, model_id)
    values = {"loader": loader, "model_id": entry.id if entry else "", "name": name.partition(":")[2]}
    return getattr(import_module(backend.module), backend.scorer)(**{need: values[need] for need in backend.needs})  # type: ignore[no-any-return]
