"""Inputs of the studio's forms, read off a request's spec."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from api.images.ranking import RankBy
from api.images.spec import USUAL_STRENGTH
from api.specs import SpecField, fields_of
from api.studio.criteria import criteria

TYPES = (str, int, float, bool, RankBy)
LABELS: Mapping[str, str | Promise] = {
    "negative_prompt": _("What it must not show"),
    "width": _("Width"),
    "height": _("Height"),
    "steps": _("Steps"),
    "guidance_scale": _("Guidance"),
    "seed": _("Seed"),
    "num_images": _("Images"),
    "best_of": _("The best of"),
    "rank_by": _("Best by"),
    "scheduler": _("Scheduler"),
    "clip_skip": _("Clip skip"),
    "prompt_syntax": _("Weights written as"),
    "output_format": _("Format"),
    "output_quality": _("Output quality"),
    "deterministic": _("Deterministic"),
    "strength": _("Strength"),
    "mask_blur": _("Soft edge"),
    "mask_padding": _("Seen around it"),
    "inpaint_area": _("The model sees"),
    "fill": _("Painting begins with"),
    "fit": _("Another shape is"),
}
WORDS: dict[str, dict[object, Promise]] = {
    "inpaint_area": {"whole": _("all of the picture"), "mask": _("the painted part, enlarged")},
    "fill": {"original": _("what is there"), "blur": _("the colours around"), "noise": _("noise"), "empty": _("nothing")},
    "fit": {"cover": _("cropped"), "stretch": _("stretched"), "contain": _("fitted in")},
}
"""Of choices, where people read other words than the API's."""
PLACEHOLDERS: Mapping[str, str | Promise] = {
    "negative_prompt": "blurry, low quality",
    "seed": _("drawn"),
    "best_of": _("all are kept"),
    "strength": f"{USUAL_STRENGTH:g}",
}
SLIDERS: Mapping[str, str] = {"steps": "1", "guidance_scale": "0.5", "strength": "0.05", "mask_blur": "1"}
"""Numbers with a slider beside them, with its step."""
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
    minimum: str
    maximum: str
    step: str
    slider: str
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
        label=str(LABELS.get(one.name, one.name.replace("_", " ").capitalize())),
        type="select" if choices else input_type(one),
        value=value,
        error=error,
        placeholder=str(PLACEHOLDERS.get(one.name) or default_text(one)),
        minimum=number_in_html(rule.minimum),
        maximum=number_in_html(rule.maximum),
        step="any" if one.type is float else str(rule.multiple_of or ""),
        slider=SLIDERS.get(one.name, ""),
        max_length=rule.max_length,
        choices=choices,
    )


def number_in_html(value: float | None) -> str:
    """With a point, whatever the language of the page."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def input_type(one: SpecField) -> str:
    if one.type is str:
        return "text"
    return "numeric" if (one.rule.maximum or 0) > LARGEST_NUMBER_INPUT else "number"


def choices_of(one: SpecField) -> list[tuple[str, str]]:
    """Values with their words for people, the default first, which is left to the server; none where any value may be typed."""
    if one.type == RankBy:
        return criteria()
    if one.type is bool:
        return [("", gettext("no")), ("true", gettext("yes"))]
    choices = one.rule.labelled_choices or [(name, name) for name in one.rule.known]
    if not choices:
        return []
    others = [choice for choice in choices if one.rule.decided or choice[0] != one.default]
    return [("", default_text(one)), *((value, in_words(one, value, words)) for value, words in others)]


def in_words(one: SpecField, value: object, otherwise: str) -> str:
    return str(WORDS.get(one.name, {}).get(value, otherwise))


def default_text(one: SpecField) -> str:
    if one.rule.decided and one.default is not MISSING:
        return gettext("the server's")
    return gettext("the model's") if one.default in (MISSING, None) else in_words(one, one.default, str(one.default))
