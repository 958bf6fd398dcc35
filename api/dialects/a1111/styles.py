"""A1111's styles are stored prompts by name: here the presets that hold words."""

from collections.abc import Sequence
from typing import Any

from api.dialects.a1111.translation import Translated
from api.images.models import Preset
from api.images.presets.applying import TEXTS, place_in
from api.images.presets.services import usable_by

LONGEST_SHOWN = 100


def apply_styles(result: Translated) -> None:
    """In their order. Of a preset the words alone are taken, as a style has no more; what nobody knows is passed over, as A1111 does."""
    names: Sequence[str] = result.body["styles"]
    found = find_presets(names, result.principal.owner_key) if names else {}
    for name in names:
        preset = found.get(name)
        if preset is None:
            result.warn(f"styles: there is no style '{name[:LONGEST_SHOWN]}'; it was left out.")
            continue
        request: dict[str, Any] = preset.current[0].request  # type: ignore[attr-defined]
        for field in TEXTS:
            result.put(**{field: merge(request.get(field) or "", result.request[field], place_in(field))})
        more = [one for one in request if one not in TEXTS]
        if more:
            result.warn(f"styles: of '{name}' the prompts alone were used, and not {', '.join(more)}.")


def find_presets(names: Sequence[str], owner_key: str) -> dict[str, Preset]:
    """The owner's own before shared ones of the same name."""
    presets = usable_by(owner_key).filter(name__in=[name for name in names if "\0" not in name])
    return {one.name: one for one in sorted(presets, key=lambda one: one.owner_key == owner_key)}


def merge(style: str, words: str, place: str) -> str:
    """As A1111 does: in the style's place for them, or the style behind them. `{prompt}` is that place in both texts there."""
    for mark in (place, place_in("prompt")):
        if mark in style:
            return style.replace(mark, words)
    return ", ".join(filter(None, (words.strip(), style.strip())))
