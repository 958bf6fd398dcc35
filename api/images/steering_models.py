"""Models that steer another one's pictures (ControlNets, IP-Adapters): which of them a request means, and whether it fits."""

from collections.abc import Callable
from typing import Any

from rest_framework.exceptions import ValidationError

from api.catalog import CONTROLNET, IP_ADAPTER, ModelEntry, UnknownModel, fits_model
from api.images.family_names import family_name
from api.images.scheduler_presets import UNET_FAMILIES
from config.catalog import get_catalog

STEERED_FAMILIES = {CONTROLNET: UNET_FAMILIES | {"sd3", "flux"}, IP_ADAPTER: UNET_FAMILIES}
"""By what steers them."""
CONTROLLED_WITHOUT_SOURCE = frozenset({"sd3"})
"""Families whose ControlNets no pipeline of diffusers runs on a source picture."""
TITLES = {CONTROLNET: "ControlNet", IP_ADAPTER: "IP-Adapter"}
ARTICLES = {CONTROLNET: "a", IP_ADAPTER: "an"}

Use = dict[str, Any]
Choose = Callable[[Use, ModelEntry], ModelEntry]


def choose_models(field: str, task: str, uses: list[Use], entry: ModelEntry, choose: Choose) -> None:
    """Sets the `model_id` of each: a model of `task`. Raises ValidationError, which names the use and its field."""
    if uses and entry.family not in STEERED_FAMILIES[task]:
        known = ", ".join(sorted(map(family_name, STEERED_FAMILIES[task])))
        detail = f"{entry.name} is {family_name(entry.family)}; only {known} are steered so here."
        raise ValidationError({field: [detail]}, code="unsupported_family")
    errors = [choose_model(use, entry, choose) for use in uses]
    if any(errors):
        raise ValidationError({field: errors})


def choose_model(use: Use, entry: ModelEntry, choose: Choose) -> dict[str, list[Any]]:
    """What is wrong with it; {} where it has its model now."""
    try:
        use["model_id"] = choose(use, entry).id
    except ValidationError as error:
        return {"model_id": error.detail}  # type: ignore[dict-item]
    return {}


def named_model(model_id: str, entry: ModelEntry, task: str) -> ModelEntry:
    """Raises ValidationError."""
    try:
        found = get_catalog().get(model_id, (task,))
    except UnknownModel as error:
        raise ValidationError(f"{error}{'' if error.nearest else known_models(entry, task)}", code="unknown_model") from None
    if found.task != task:
        detail = f"'{model_id}' is no {TITLES[task]} (its task is {found.task}).{known_models(entry, task)}"
        raise ValidationError(detail, code="wrong_task")
    if not fits_model(found, entry):
        raise ValidationError(
            describe_misfit(found, entry), code=f"{'control' if task == CONTROLNET else 'ip_adapter'}_mismatch"
        )
    return found


def describe_misfit(found: ModelEntry, entry: ModelEntry) -> str:
    """Names both."""
    kind = f"'{found.id}' is {ARTICLES[found.task]} {TITLES[found.task]}"
    if found.base:
        return f"{kind} for {get_catalog().get(found.base).name} alone, and the request's model is {entry.name}."
    return f"{kind} for {family_name(found.family)}, and {entry.name} is {family_name(entry.family)}."


def known_models(entry: ModelEntry, task: str) -> str:
    known = [found.id for found in get_catalog().of_task(task) if fits_model(found, entry)]
    return f" Known for this model: {', '.join(known[:20])}." if known else ""
