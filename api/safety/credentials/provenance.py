"""What is said of a picture's origin, as C2PA's actions and ingredients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from api.files.models import StoredFile
from api.json_types import JsonObject
from api.specs import Spec

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary, of which C2PA takes its `digitalSourceType`."""
PARENT, INPUT = "parentOf", "inputTo"
"""C2PA's relations: the picture that was changed, and what else the model was given."""


@dataclass(frozen=True)
class Process:
    """How a picture is made: the action's name in C2PA, and the kind of picture that it gives."""

    action: str
    source_type: str
    changes_a_picture: bool = True


GENERATED = Process("c2pa.created", "trainedAlgorithmicMedia", changes_a_picture=False)
COMPOSED = Process("c2pa.created", "compositeSynthetic", changes_a_picture=False)
"""Of several pictures, some of them generated."""
EDITED = Process("c2pa.edited", "compositeWithTrainedAlgorithmicMedia")
ENHANCED = Process("c2pa.enhanced", "algorithmicallyEnhanced")
CUT_OUT = Process("c2pa.edited", "algorithmicallyEnhanced")
FILTERED = Process("c2pa.filtered", "algorithmicMedia")
ANNOTATED = Process("c2pa.drawing", "compositeSynthetic")


@dataclass(frozen=True)
class Ingredient:
    """A file of the media that the picture was made from."""

    name: str
    content_type: str
    relation: str


@dataclass(frozen=True)
class Provenance:
    """What the file of one picture is to say of its origin."""

    process: Process
    model_id: str = ""
    ingredients: tuple[Ingredient, ...] = ()

    def manifest(self) -> JsonObject:
        """As the library's Builder takes it. Ingredients are named by their places: i0, i1 …"""
        agent: JsonObject = {"name": "Darkroom", "version": str(settings.SPECTACULAR_SETTINGS["VERSION"])}
        return {
            "claim_generator_info": [agent],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": self._actions(agent)}}],
        }

    def _actions(self, agent: JsonObject) -> list[JsonObject]:
        parents = self._places(PARENT)
        opened: list[JsonObject] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": parents}}] if parents else []
        made: JsonObject = {
            "action": self.process.action,
            "digitalSourceType": SOURCE_TYPES + self.process.source_type,
            "softwareAgent": agent,
        }
        if self.model_id:
            made["description"] = f"Model: {self.model_id}"
        if inputs := self._places(INPUT):
            made["parameters"] = {"ingredientIds": inputs}
        return [*opened, made]

    def _places(self, relation: str) -> list[str]:
        return [place_name(place) for place, one in enumerate(self.ingredients) if one.relation == relation]


def place_name(place: int) -> str:
    return f"i{place}"


def provenance_of(spec: Spec, process: Process) -> Provenance | None:
    """Of a request's pictures; None, without a query, where nothing is signed. Asks the database: for the thread that runs models."""
    if not settings.C2PA_CERTIFICATE:
        return None
    changed = str(getattr(spec, "image", "")) if process.changes_a_picture else ""
    return Provenance(process, spec.history_model, ingredients_of(spec.input_ids, changed))


def provenance_of_overlay(spec: Spec, image: str | None) -> Provenance | None:
    """Of what is drawn over one of a request's pictures. As `provenance_of`."""
    if not settings.C2PA_CERTIFICATE:
        return None
    return Provenance(ANNOTATED, spec.history_model, ingredients_of([image], image) if image else ())


def ingredients_of(ids: Collection[str], changed: str) -> tuple[Ingredient, ...]:
    """`changed`: the one that the picture is a version of. Files that have been deleted are left out."""
    found: dict[Any, StoredFile] = StoredFile.objects.in_bulk(list(ids)) if ids else {}
    files = {str(pk): file for pk, file in found.items()}
    relations = {pk: PARENT if pk == changed else INPUT for pk in ids if pk in files}
    return tuple(Ingredient(files[pk].name, files[pk].content_type, relation) for pk, relation in relations.items())
