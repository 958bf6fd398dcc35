"""An adapter that a request names more than once. In a prompt its weights add up, as in AUTOMATIC1111's program; in `loras`, where one
place holds its weight, it is a mistake.
"""

from collections.abc import Sequence
from typing import Any

from rest_framework.exceptions import ValidationError

from api.images.spec import LARGEST_LORA_WEIGHT, LoraUse
from api.json_types import JsonObject


def refuse_repeated(loras: Sequence[dict[str, Any]]) -> None:
    """Raises ValidationError. Ids are those of the catalog."""
    ids = [lora["id"] for lora in loras]
    if len(set(ids)) < len(ids):
        detail = "'{}' is named twice; give it once, with one weight."
        errors = [{"id": [detail.format(name)]} if name in ids[:place] else {} for place, name in enumerate(ids)]
        raise ValidationError({"loras": errors}, code="repeated_lora")


def add_up(loras: Sequence[dict[str, Any]]) -> tuple[list[JsonObject], list[str]]:
    """Each once, and a warning for each that was named more often. Raises ValidationError for a sum that is too large."""
    given: dict[str, list[dict[str, Any]]] = {}
    for lora in loras:
        given.setdefault(lora["id"], []).append(lora)
    added = {name: same[0] if len(same) == 1 else sum_of(name, same) for name, same in given.items()}
    warnings = [
        f"loras: '{name}' is named {len(same)} times; its weights were added up to {written(added[name])}."
        for name, same in given.items()
        if len(same) > 1
    ]
    return list(added.values()), warnings


def sum_of(name: str, same: Sequence[dict[str, Any]]) -> JsonObject:
    unet, text = (round(sum(part), 6) for part in zip(*(LoraUse(**lora).strengths for lora in same), strict=True))
    if max(abs(unet), abs(text)) > LARGEST_LORA_WEIGHT:
        total = f"The weights of '{name}', which is named {len(same)} times, add up to {unet:g}"
        detail = f"{total}; they must stay from -{LARGEST_LORA_WEIGHT} to {LARGEST_LORA_WEIGHT}."
        raise ValidationError({"prompt": [detail]}, code="lora_weight")
    return {"id": name, "weight": text} if unet == text else {"id": name, "weight": text, "unet": unet}


def written(lora: JsonObject) -> str:
    return f"{lora['weight']:g}" if "unet" not in lora else f"{lora['unet']:g} on the denoiser, {lora['weight']:g} on the text"
