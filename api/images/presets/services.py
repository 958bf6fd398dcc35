"""Finds, saves and deletes presets."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import IntegrityError, transaction
from django.db.models import F, Prefetch, Q, QuerySet
from django.db.models.functions import Now
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.errors import DarkroomError
from api.images.models import Preset, PresetVersion
from api.json_types import JsonObject
from api.strict import nearest

REFERENCE = re.compile(r"([-\w]+)(?:@([1-9][0-9]{0,8}))?", re.ASCII)
MOST_NAMES = 1000
"""Names among which the nearest is looked for."""


class UnknownPreset(DarkroomError):
    def __init__(self, detail: str) -> None:
        super().__init__("unknown_preset", 404, detail)


def usable_by(owner_key: str | None) -> QuerySet[Preset]:
    """Those that a request of this owner may name; with the version that their name alone means, as `current`."""
    current = PresetVersion.objects.filter(number=F("preset__last_version"))
    presets = Preset.objects.filter(Q(shared=True) | Q(owner_key=owner_key or ""))
    return presets.prefetch_related(Prefetch("versions", current, to_attr="current"))


def find_version(reference: str, owner_key: str | None) -> PresetVersion:
    """By `name` or `name@version`; the owner's own goes before a shared one of the same name. Raises UnknownPreset."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise UnknownPreset(f"'{reference}' is no preset's name; write name, or name@version.")
    found = list(usable_by(owner_key).filter(name=match[1]))
    if not found:
        names = list(usable_by(owner_key).order_by("name").values_list("name", flat=True)[:MOST_NAMES])
        raise UnknownPreset(f"There is no preset '{match[1]}'.{nearest(match[1], names)}")
    preset = min(found, key=lambda one: one.owner_key != owner_key)
    version = preset.versions.filter(number=int(match[2])).first() if match[2] else preset.current[0]  # type: ignore[attr-defined]
    if version is None:
        raise UnknownPreset(f"The preset '{preset.name}' has the versions 1 to {preset.last_version}.")
    return version


def find_same(
    *, name: str, owner_key: str, request: JsonObject, parameters: Sequence[str], description: str, shared: bool
) -> PresetVersion | None:
    """The owner's preset of this name, where it is just like this: a request that is sent again finds what it made."""
    preset = usable_by(owner_key).filter(name=name, owner_key=owner_key, description=description, shared=shared).first()
    version: PresetVersion | None = preset.current[0] if preset else None  # type: ignore[attr-defined]
    is_same = version is not None and (version.request, version.parameters) == (request, list(parameters))
    return version if is_same else None


def create_preset(
    *,
    name: str,
    owner_key: str,
    request: JsonObject,
    parameters: Sequence[str] = (),
    description: str = "",
    shared: bool = False,
) -> Preset:
    """Raises ValidationError where the name is taken."""
    with naming_the_field(), transaction.atomic():
        preset = Preset.objects.create(name=name, owner_key=owner_key, description=description, shared=shared)
        return add_version(preset, request, parameters, owner_key)


def change_preset(
    *, preset: Preset, by: str, request: JsonObject, parameters: Sequence[str], description: str, shared: bool
) -> Preset:
    """A new version where the request or its parameters differ. `by`: the owner_key of who changes it."""
    with naming_the_field(), transaction.atomic():
        preset = Preset.objects.select_for_update().get(pk=preset.pk)
        preset.description, preset.shared = description, shared
        preset.save(update_fields=["description", "shared"])
        last = preset.versions.first()
        if last is not None and (last.request, last.parameters) == (request, list(parameters)):
            return preset
        return add_version(preset, request, parameters, by)


def add_version(preset: Preset, request: JsonObject, parameters: Sequence[str], by: str) -> Preset:
    preset.last_version += 1
    preset.versions.create(number=preset.last_version, request=request, parameters=list(parameters), created_by=by)
    Preset.objects.filter(pk=preset.pk).update(last_version=preset.last_version, changed_at=Now())
    preset.refresh_from_db(fields=["changed_at"])
    return preset


@contextmanager
def naming_the_field() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        detail = "There is a preset with this name; change that one, or take another name."
        raise ValidationError({"name": [detail]}, code="name_taken") from None


def may_change(preset: Preset, principal: Principal) -> bool:
    return principal.is_staff or preset.owner_key == principal.owner_key
