"""Inputs of the studio's forms, read off a request's spec."""

from collections.abc import Collection
from dataclasses import MISSING, dataclass
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from api.images.ranking import RankBy
from api.images.spec import USUAL_STRENGTH
from api.specs import SpecField, fields_of
from api.studio.criteria import criteria

TYPES = (str, int, float, bool, RankBy)
LABELS = {
    "negative_prompt": "What it must not show",
    "prompt_syntax": "Weights written as",
    "num_images": "Images",
    "best_of": "The best of",
    "rank_by": "Best by",
    "guidance_scale": "Guidance",
    "output_format": "Format",
    "mask_blur": "Soft edge",
    "mask_padding": "Seen around it",
    "inpaint_area": "The model sees",
    "fill": "Painting begins with",
    "fit": "Another shape is",
}
WORDS: dict[str, dict[object, Promise]] = {
    "inpaint_area": {"whole": _("all of the picture"), "mask": _("the painted part, enlarged")},
    "fill": {"original": _("what is there"), "blur": _("the colours around"), "noise": _("noise"), "empty": _("nothing")},
    "fit": {"cover": _("cropped"), "stretch": _("stretched"), "contain": _("fitted in")},
}
"""Of choices, where people read other words than the API's."""
PLACEHOLDERS = {
    "negative_prompt": "blurry, low quality",
    "seed": "drawn",
    "best_of": "all are kept",
    "strength": f"{USUAL_STRENGTH:g}",
}
LARGEST_NUMBER_INPUT = 10**9
"""Beyond it, arrows that count up and down are of no use."""


@dataclass(frozen=True)
class Input:
    """One field of the spec, as the page shows it."""

    name: str
    label: str
    type: str
    """number, numeric (a text of digits), text or select"""
    value: str
    error: str
    placeholder: str
    minimum: float | None
    maximum: float | None
    step: str
    max_length: int | None
    choices: list[tuple[str, str]]


def plain_fields(spec: type[Any], leave_out: Collection[str]) -> list[SpecField]:
    """What one input can hold: no lists. Nothing that only a model of this server honours, where none runs here."""
    fields = (one for one in fields_of(spec) if one.type in TYPES and not one.rule.internal and one.name not in leave_out)
    return [one for one in fields if settings.USE_LOCAL_MODELS or not one.rule.local_only]


def with_loaded(choices: list[tuple[str, str]], value: str) -> list[tuple[str, str]]:
    """What a loaded request says stays chosen where it is not offered: a scorer's earlier version."""
    return [*choices, (value, value)] if choices and value not in dict(choices) else choices


def make_input(one: SpecField, value: str, error: str) -> Input:
    choices, rule = with_loaded(choices_of(one), value), one.rule
    return Input(
        name=one.name,
        label=LABELS.get(one.name, one.name.replace("_", " ").capitalize()),
        type="select" if choices else input_type(one),
        value=value,
        error=error,
        placeholder=PLACEHOLDERS.get(one.name, default_text(one)),
        minimum=rule.minimum,
        maximum=rule.maximum,
        step="any" if one.type is float else str(rule.multiple_of or ""),
        max_length=rule.max_length,
        choices=choices,
    )


def input_type(one: SpecField) -> str:
    if one.type is str:
        return "text"
    return "numeric" if (one.rule.maximum or 0) > LARGEST_NUMBER_INPUT else "number"


def choices_of(one: SpecField) -> list[tuple[str, str]]:
    """Values with their words for people, the default first, which is left to the server; none where any value may be typed."""
    if one.type == RankBy:
        return criteria()
    if one.type is bool:
        return [("", "no"), ("true", "yes")]
    choices = one.rule.labelled_choices or [(name, name) for name in one.rule.known]
    if not choices:
        return []
    others = [choice for choice in choices if one.rule.decided or choice[0] != one.default]
    return [("", default_text(one)), *((value, in_words(one, value, words)) for value, words in others)]


def in_words(one: SpecField, value: object, otherwise: str) -> str:
    return str(WORDS.get(one.name, {}).get(value, otherwise))


def default_text(one: SpecField) -> str:
    if one.rule.decided and one.default is not MISSING:
        return "the server's"
    return "the model's" if one.default in (MISSING, None) else in_words(one, one.default, str(one.default))
