"""The prompt box: its inputs are read off the request's spec, and what it sends is read by the API's own serializer."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ParseError, ValidationError

from api.access.principals import Principal
from api.catalog import AdapterEntry
from api.images.candidates import CRITERIA
from api.images.models import GeneratedImage
from api.images.ranking import DEFAULT, RankBy
from api.images.serializers import Txt2ImgSerializer
from api.images.spec import MOST_LORAS
from api.jobs.admin.detail import readable
from api.json_types import JsonObject
from api.problems import field_errors
from api.runtime.judge_registry import kind_of
from api.specs import SpecField, fields_of
from api.strict import parse_json_text
from api.studio.offered_models import OfferedModel, offered_models
from api.studio.sentences import in_language
from config.catalog import get_catalog

OWN_PLACES = ("prompt", "model_id")
"""Fields that stand above the others."""
CHOSE_A_PICTURE = ("num_images", "best_of", "rank_by")
"""Fields that say which pictures were kept, not how one is made."""
NOT_IN_FORM = ("preset",)
"""It may fix what the form sends."""
OWN_FORMS = ("loras", "tags")
"""Fields with inputs of their own kind."""
KEPT = ("loras", "variation", "hires", "upscale", "cutout", "control", "ip_adapter", "lenient_prompts")
"""Parts of a request that are sent again as they were loaded."""
MOST_OFFERED = 300
TYPES = (str, int, float, bool, RankBy)
LABELS: Mapping[str, str | Promise] = {
    "negative_prompt": gettext_lazy("What it must not show"),
    "width": gettext_lazy("Width"),
    "height": gettext_lazy("Height"),
    "steps": gettext_lazy("Steps"),
    "guidance_scale": gettext_lazy("Guidance"),
    "seed": gettext_lazy("Seed"),
    "num_images": gettext_lazy("Images"),
    "best_of": gettext_lazy("The best of"),
    "rank_by": gettext_lazy("Best by"),
    "scheduler": gettext_lazy("Scheduler"),
    "clip_skip": gettext_lazy("Clip skip"),
    "prompt_syntax": gettext_lazy("Weights written as"),
    "output_format": gettext_lazy("Format"),
    "output_quality": gettext_lazy("Output quality"),
    "deterministic": gettext_lazy("Deterministic"),
}
PLACEHOLDERS: Mapping[str, str | Promise] = {
    "negative_prompt": "blurry, low quality",
    "seed": gettext_lazy("drawn"),
    "best_of": gettext_lazy("all are kept"),
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
    minimum: str
    maximum: str
    step: str
    max_length: int | None
    choices: list[tuple[str, str]]


@dataclass(frozen=True)
class Lora:
    """As it was typed."""

    id: str
    weight: str


@dataclass(frozen=True)
class Kept:
    """A part of a request that no input shows. It is sent again as it is, unless its box is cleared."""

    name: str
    value: Any

    @property
    def text(self) -> str:
        return json.dumps({self.name: self.value})

    @property
    def label(self) -> str:
        return f"{self.name.replace('_', ' ')}: {readable(self.value)}"


@dataclass
class PromptForm:
    """`values` as they were typed, `errors` by place; what belongs to no field is under `form`. `notes`: what a loaded request lost."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    loras: list[Lora] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def models(self) -> list[OfferedModel]:
        return offered_models()

    @property
    def model(self) -> OfferedModel:
        """The one that is chosen."""
        chosen = self.values.get("model_id") or settings.DEFAULT_IMAGE_MODEL
        return next((model for model in self.models if model.id == chosen), self.models[0])

    @property
    def inputs(self) -> list[Input]:
        return [make_input(one, self) for one in form_fields() if one.name not in OWN_PLACES]

    @property
    def lora_rows(self) -> list[Lora]:
        """One more, to be filled in."""
        return [*self.loras, Lora("", "")][:MOST_LORAS]

    @property
    def offered_loras(self) -> list[AdapterEntry]:
        return get_catalog().adapters_for(self.model.id)[:MOST_OFFERED]

    @property
    def slots(self) -> list[tuple[str, str]]:
        """Every place for an error, with what stands there now."""
        return [(name, self.errors.get(name, "")) for name in (*form_names(), *OWN_FORMS, "form")]

    @property
    def is_extended(self) -> bool:
        """Whether the fields under "more" should be open at once."""
        names = (*form_names(), *OWN_FORMS)
        return bool(self.loras) or any(
            self.values.get(name) or self.errors.get(name) for name in names if name not in OWN_PLACES
        )


def form_fields() -> list[SpecField]:
    """What one input can hold: no lists. Nothing that only a model of this server honours, where none runs here."""
    fields = (
        one
        for one in fields_of(Txt2ImgSerializer.spec)
        if one.type in TYPES and not one.rule.internal and one.name not in (*NOT_IN_FORM, *KEPT)
    )
    return [one for one in fields if settings.USE_LOCAL_MODELS or not one.rule.local_only]


def form_names() -> list[str]:
    return [one.name for one in form_fields()]


def make_input(one: SpecField, form: PromptForm) -> Input:
    choices, rule = choices_of(one), one.rule
    return Input(
        name=one.name,
        label=str(LABELS.get(one.name, one.name.replace("_", " ").capitalize())),
        type="select" if choices else input_type(one),
        value=form.values.get(one.name, ""),
        error=form.errors.get(one.name, ""),
        placeholder=str(PLACEHOLDERS.get(one.name) or default_text(one)),
        minimum=number_in_html(rule.minimum),
        maximum=number_in_html(rule.maximum),
        step="any" if one.type is float else str(rule.multiple_of or ""),
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
        others = [(name, str(words)) for name, words in CRITERIA.items() if name != DEFAULT and not kind_of(name).missing()]
        return [("", str(CRITERIA[DEFAULT])), *others]
    if one.type is bool:
        return [("", _("no")), ("true", _("yes"))]
    choices = one.rule.labelled_choices or [(name, name) for name in one.rule.known]
    return (
        [("", default_text(one)), *(choice for choice in choices if one.rule.decided or choice[0] != one.default)]
        if choices
        else []
    )


def default_text(one: SpecField) -> str:
    if one.rule.decided and one.default is not MISSING:
        return _("the server's")
    return _("the model's") if one.default in (MISSING, None) else str(one.default)


def read_form(data: QueryDict, principal: Principal) -> tuple[PromptForm, Txt2ImgSerializer | None]:
    """The form, and a valid serializer where nothing is wrong with it. What is left empty is the model's to decide."""
    values = {name: data.get(name, "").strip() for name in (*form_names(), "tags")}
    pairs = zip_longest(data.getlist("lora"), data.getlist("lora_weight"), fillvalue="")
    loras = [Lora(name.strip(), weight.strip()) for name, weight in pairs if name.strip()]
    form = PromptForm(values, loras=loras, kept=read_kept(data.getlist("kept")))
    serializer = Txt2ImgSerializer(data=request_of(form), context={"principal": principal})
    if serializer.is_valid():
        if values["rank_by"] and not values["best_of"]:  # the API takes it, with a warning
            form.errors = {"rank_by": _("Nothing is ranked without best_of.")}
            return form, None
        return form, serializer
    form.errors = read_errors(serializer.errors)
    return form, None


def request_of(form: PromptForm) -> JsonObject:
    """As JSON, which the API's serializer reads."""
    request: JsonObject = {name: form.values[name] for name in form_names() if form.values[name] or name == "prompt"}
    if tags := [tag.strip() for tag in form.values["tags"].split(",") if tag.strip()]:
        request["tags"] = tags
    loras = [{"id": lora.id, **({"weight": lora.weight} if lora.weight else {})} for lora in form.loras]
    for one in form.kept:
        if one.name == "loras":
            loras.append(one.value)
        else:
            request[one.name] = one.value
    return {**request, **({"loras": loras} if loras else {})}


def read_kept(texts: Iterable[str]) -> list[Kept]:
    """What `Kept.text` wrote; the serializer decides whether it is a request."""
    found: list[Kept] = []
    for text in texts:
        try:
            parts = parse_json_text(text)
        except (ParseError, ValidationError):
            continue
        if isinstance(parts, dict):
            found += [Kept(name, value) for name, value in parts.items() if name in KEPT]
    return found


def read_errors(errors: object) -> dict[str, str]:
    """By the place on the page; what has none of its own is named."""
    texts: dict[str, str] = {}
    for error in field_errors(errors):
        name = error["field"].partition(".")[0]
        place = name if name in (*form_names(), *OWN_FORMS) else "form"
        said = in_language(error["detail"])
        detail = said if place != "form" or not name else f"{error['field']}: {said}"
        texts[place] = " ".join(filter(None, [texts.get(place), detail]))
    return texts


# ---------------------------------------------------------------- what was asked before, ready to be asked again


def form_of(image: GeneratedImage, *, keep_seed: bool) -> PromptForm:
    """What made a picture."""
    request = {name: value for name, value in image.parameters.items() if name not in CHOSE_A_PICTURE}
    row = {one.name: getattr(image, one.name) for one in form_fields() if hasattr(image, one.name)}
    asked = {name: request[name] for name in ("width", "height") if name in request}  # the picture may have been enlarged
    form = form_of_request({**request, **row, **asked}, keep_seed=keep_seed)
    if image.origin == GeneratedImage.Origin.EDITED:
        form.notes.append(_("This picture was made from another one. The form makes a new one from its prompt alone."))
    return form


def form_of_request(request: Mapping[str, Any], *, keep_seed: bool = True, notes: Iterable[str] = ()) -> PromptForm:
    """`request`: a body of the API, or what a job was asked."""
    values = {one.name: value_text(one, request.get(one.name)) for one in form_fields()}
    values["tags"] = ", ".join(request.get("tags") or ())
    if not keep_seed:
        values["seed"] = ""
    loras, kept = [], [Kept(name, request[name]) for name in KEPT if name != "loras" and request.get(name)]
    for lora in request.get("loras") or ():
        if lora.keys() <= {"id", "weight"}:
            loras.append(Lora(lora["id"], f"{lora.get('weight', 1):g}"))
        else:
            kept.append(Kept("loras", lora))
    return PromptForm(values, loras=loras, kept=kept, notes=list(notes))


def value_text(one: SpecField, value: object) -> str:
    if one.type is bool:
        return "true" if value else ""
    if value == one.default and one.default is not MISSING and not one.rule.decided:
        return ""  # the input is empty where nothing was said
    return "" if value is None or not isinstance(value, str | int | float) else str(value)
