"""What there is to edit with: ControlNets and IP-Adapters that fit a model, upscalers, and models that cut out."""

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.catalog import CONTROLNET, IP_ADAPTER, UPSCALING, ModelEntry, fits_model
from api.catalog.control_kinds import CONTROL_KINDS
from api.images.control.use import PREPROCESSORS, kind_of
from api.images.ip_adapter.serializers import why_unreadable
from api.images.steering_models import CONTROLLED_WITHOUT_SOURCE, STEERED_FAMILIES
from api.studio.offered_models import OfferedModel, describe
from api.vision.cutout.spec import PROMPTED, SEGMENTATION
from config.catalog import get_catalog

KINDS = {
    "canny": gettext_lazy("edges (canny)"),
    "softedge": gettext_lazy("soft edges"),
    "scribble": gettext_lazy("scribble"),
    "lineart": gettext_lazy("line art"),
    "lines": gettext_lazy("straight lines"),
    "tile": gettext_lazy("colours, coarse (tile)"),
    "grey": gettext_lazy("greys"),
    "colour": gettext_lazy("colours"),
    "invert": gettext_lazy("inverted drawing"),
    "depth": gettext_lazy("depth"),
    "normal": gettext_lazy("normals"),
    "pose": gettext_lazy("pose"),
    "segmentation": gettext_lazy("segmentation"),
}


@dataclass(frozen=True)
class Steering:
    """What steers the pictures of one model."""

    model: ModelEntry
    controlnets: list[OfferedModel]
    preprocessors: list[tuple[str, str]]
    """Maps that are made here and that one of them reads, with their words."""
    kinds: list[tuple[str, str]]
    """Maps that they read and that may be sent."""
    adapters: list[OfferedModel]

    @property
    def is_possible(self) -> bool:
        return self.model.family in STEERED_FAMILIES[CONTROLNET] - CONTROLLED_WITHOUT_SOURCE


def find_steering(model_id: str) -> Steering:
    model = get_catalog().get(model_id)
    nets = fitting(model, CONTROLNET)
    adapters = [entry for entry in fitting(model, IP_ADAPTER) if not why_unreadable(entry)]
    return Steering(
        model=model,
        controlnets=here_first(nets),
        preprocessors=[(f"preprocessor:{name}", words(name)) for name in PREPROCESSORS if is_read(kind_of(None, name), nets)],
        kinds=[(f"kind:{name}", words(name)) for name in CONTROL_KINDS if is_read(name, nets)],
        adapters=here_first(adapters),
    )


def fitting(model: ModelEntry, task: str) -> list[ModelEntry]:
    return [entry for entry in get_catalog().of_task(task) if fits_model(entry, model)]


def is_read(kind: str | None, nets: list[ModelEntry]) -> bool:
    """One that does not say what it reads may read anything."""
    return any(not net.control or kind in net.control for net in nets)


def words(kind: str) -> str:
    return str(KINDS.get(kind, kind))


def here_first(entries: list[ModelEntry]) -> list[OfferedModel]:
    return sorted(map(describe, entries), key=lambda offered: not offered.is_here)


def upscalers() -> list[OfferedModel]:
    return here_first(get_catalog().of_task(UPSCALING))


def cutters() -> list[OfferedModel]:
    """Those that find a subject themselves, and those that are told where it is: by what was painted."""
    entries = [entry for task in (SEGMENTATION, PROMPTED) for entry in get_catalog().of_task(task)]
    return here_first(entries)


def prompted() -> list[str]:
    return [entry.id for entry in get_catalog().of_task(PROMPTED)]


def why_no_controlnet(steering: Steering) -> str:
    if not steering.is_possible:
        return _("Pictures of %(name)s can't be steered by maps.") % {"name": steering.model.name}
    return _("No ControlNet for %(name)s is here. A file in the library’s folders is found by itself.") % {
        "name": steering.model.name
    }
