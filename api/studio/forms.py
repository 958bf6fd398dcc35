"""The prompt box: its inputs are read off the request's spec, and what it sends is read by the API's own serializer."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field

from django.conf import settings
from django.http import QueryDict

from api.catalog import ModelEntry
from api.images.candidates import CRITERIA
from api.images.models import GeneratedImage
from api.images.ranking import DEFAULT, RankBy
from api.images.serializers import Txt2ImgSerializer
from api.images.spec import TEXT_TO_IMAGE
from api.problems import field_errors
from api.runtime.judge_registry import kind_of
from api.specs import SpecField, fields_of
from config.catalog import get_catalog

OWN_PLACES = ("prompt", "model_id")
"""Fields that stand above the others."""
CHOSE_A_PICTURE = ("num_images", "best_of", "rank_by")
"""Fields that say which pictures were kept, not how one is made."""
NOT_IN_FORM = ("preset",)
"""It may fix what the form sends."""
TYPES = (str, int, float, bool, RankBy)
LABELS = {
    "negative_prompt": "What it must not show",
    "prompt_syntax": "Weights written as",
    "num_images": "Images",
    "best_of": "The best of",
    "rank_by": "Best by",
    "guidance_scale": "Guidance",
    "output_format": "Format",
}
PLACEHOLDERS = {"negative_prompt": "blurry, low quality", "seed": "drawn", "best_of": "all are kept"}
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


@dataclass
class PromptForm:
    """`values` as they were typed, `errors` by field; what belongs to no field is under `form`."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> list[ModelEntry]:
        """The default one first."""
        entries = get_catalog().of_task(TEXT_TO_IMAGE)
        return sorted(entries, key=lambda entry: entry.id != settings.DEFAULT_IMAGE_MODEL)

    @property
    def inputs(self) -> list[Input]:
        return [make_input(one, self) for one in form_fields() if one.name not in OWN_PLACES]

    @property
    def slots(self) -> list[tuple[str, str]]:
        """Every place for an error, with what stands there now."""
        return [(name, self.errors.get(name, "")) for name in (*form_names(), "form")]

    @property
    def is_extended(self) -> bool:
        """Whether the fields under "more" should be open at once."""
        return any(self.values.get(name) or self.errors.get(name) for name in form_names() if name not in OWN_PLACES)


def form_fields() -> list[SpecField]:
    """What one input can hold: no lists. Nothing that only a model of this server honours, where none runs here."""
    fields = (
        one
        for one in fields_of(Txt2ImgSerializer.spec)
        if one.type in TYPES and not one.rule.internal and one.name not in NOT_IN_FORM
    )
    return [one for one in fields if settings.USE_LOCAL_MODELS or not one.rule.local_only]


def form_names() -> list[str]:
    return [one.name for one in form_fields()]


def make_input(one: SpecField, form: PromptForm) -> Input:
    choices, rule = choices_of(one), one.rule
    return Input(
        name=one.name,
        label=LABELS.get(one.name, one.name.replace("_", " ").capitalize()),
        type="select" if choices else input_type(one),
        value=form.values.get(one.name, ""),
        error=form.errors.get(one.name, ""),
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
        others = [(name, words) for name, words in CRITERIA.items() if name != DEFAULT and not kind_of(name).missing()]
        return [("", CRITERIA[DEFAULT]), *others]
    if one.type is bool:
        return [("", "no"), ("true", "yes")]
    choices = one.rule.labelled_choices or [(name, name) for name in one.rule.known]
    return (
        [("", default_text(one)), *(choice for choice in choices if one.rule.decided or choice[0] != one.default)]
        if choices
        else []
    )


def default_text(one: SpecField) -> str:
    if one.rule.decided and one.default is not MISSING:
        return "the server's"
    return "the model's" if one.default in (MISSING, None) else str(one.default)


def read_form(data: QueryDict) -> tuple[PromptForm, Txt2ImgSerializer | None]:
    """The form, and a valid serializer where nothing is wrong with it. What is left empty is the model's to decide."""
    values = {name: data.get(name, "").strip() for name in form_names()}
    serializer = Txt2ImgSerializer(data={name: value for name, value in values.items() if value or name == "prompt"})
    if serializer.is_valid():
        if values["rank_by"] and not values["best_of"]:  # the API takes it, with a warning
            return PromptForm(values, {"rank_by": "Nothing is ranked without best_of."}), None
        return PromptForm(values), serializer
    return PromptForm(values, read_errors(serializer.errors)), None


def read_errors(errors: object) -> dict[str, str]:
    texts: dict[str, str] = {}
    for error in field_errors(errors):
        name = error["field"] if error["field"] in form_names() else "form"
        texts[name] = " ".join(filter(None, [texts.get(name), error["detail"]]))
    return texts


def form_of(image: GeneratedImage, *, keep_seed: bool) -> PromptForm:
    """What made a picture, ready to be made again."""
    values = {one.name: value_of(image, one) for one in form_fields() if one.name not in CHOSE_A_PICTURE}
    return PromptForm(values if keep_seed else {**values, "seed": ""})


def value_of(image: GeneratedImage, one: SpecField) -> str:
    value = getattr(image, one.name, image.parameters.get(one.name))
    if one.type is bool:
        return "true" if value else ""
    return "" if value is None else str(value)
