"""The forms that ask for pictures: their inputs are read off the request's spec, and what they send is read by the API's own serializer."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, ValidationError

from api.access.principals import Principal
from api.catalog import AdapterEntry
from api.images.models import GeneratedImage
from api.images.serializers import Txt2ImgSerializer
from api.images.spec import MOST_LORAS
from api.jobs.admin.detail import readable
from api.problems import field_errors
from api.specs import SpecField
from api.strict import parse_json_text
from api.studio.inputs import Input, make_input, plain_fields
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
KEPT_LISTS = ("loras", "control", "ip_adapter")
"""Those that are lists: each of their items is kept by itself."""
MOST_OFFERED = 300


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

    serializer_class: ClassVar[type[Txt2ImgSerializer]] = Txt2ImgSerializer
    own_places: ClassVar[tuple[str, ...]] = OWN_PLACES
    own_forms: ClassVar[tuple[str, ...]] = OWN_FORMS
    own_values: ClassVar[tuple[str, ...]] = ("tags",)
    """Of inputs that are no plain field of the spec."""
    not_in_form: ClassVar[tuple[str, ...]] = NOT_IN_FORM

    @classmethod
    def fields(cls) -> list[SpecField]:
        return plain_fields(cls.serializer_class.spec, (*cls.not_in_form, *KEPT))

    @classmethod
    def names(cls) -> list[str]:
        return [one.name for one in cls.fields()]

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
        return [self.input_of(one) for one in self.fields() if one.name not in self.own_places]

    def input_of(self, one: SpecField) -> Input:
        return make_input(one, self.values.get(one.name, ""), self.errors.get(one.name, ""))

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
        return [(name, self.errors.get(name, "")) for name in (*self.names(), *self.own_forms, "form")]

    @property
    def is_extended(self) -> bool:
        """Whether the fields under "more" should be open at once."""
        names = (*self.names(), *OWN_FORMS)
        return bool(self.loras) or any(
            self.values.get(name) or self.errors.get(name) for name in names if name not in self.own_places
        )

    def request(self) -> dict[str, Any]:
        """As JSON, which the API's serializer reads."""
        request: dict[str, Any] = {name: self.values[name] for name in self.names() if self.values[name] or name == "prompt"}
        if tags := [tag.strip() for tag in self.values["tags"].split(",") if tag.strip()]:
            request["tags"] = tags
        loras = [{"id": lora.id, **({"weight": lora.weight} if lora.weight else {})} for lora in self.loras]
        request |= {one.name: one.value for one in self.kept if one.name not in KEPT_LISTS}
        for name, own in {**dict.fromkeys(KEPT_LISTS, ()), "loras": loras}.items():
            if found := [*own, *(one.value for one in self.kept if one.name == name)]:
                request[name] = found
        return request

    def place_of(self, field: str) -> str:
        """Where an error of a request's field stands."""
        name = field.partition(".")[0]
        return name if name in (*self.names(), *self.own_forms) else "form"

    def fill(self, data: QueryDict) -> None:
        """With what was typed."""
        self.values = {name: data.get(name, "").strip() for name in (*self.names(), *self.own_values)}
        pairs = zip_longest(data.getlist("lora"), data.getlist("lora_weight"), fillvalue="")
        self.loras = [Lora(name.strip(), weight.strip()) for name, weight in pairs if name.strip()]
        self.kept = read_kept(data.getlist("kept"))

    def check(self, principal: Principal) -> Txt2ImgSerializer | None:
        """A valid serializer where nothing is wrong with what was typed. What is left empty is the model's to decide."""
        serializer = self.serializer_class(data=self.request(), context={"principal": principal})
        if not serializer.is_valid():
            self.errors = read_errors(serializer.errors, self.place_of)
            return None
        if self.values["rank_by"] and not self.values["best_of"]:  # the API takes it, with a warning
            self.errors = {"rank_by": _("Nothing is ranked without best_of.")}
            return None
        return serializer


F = TypeVar("F", bound=PromptForm)


def read_form(data: QueryDict, principal: Principal) -> tuple[PromptForm, Txt2ImgSerializer | None]:
    form = PromptForm()
    form.fill(data)
    return form, form.check(principal)


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


def read_errors(errors: object, place_of: Callable[[str], str]) -> dict[str, str]:
    """By the place on the page; what has none of its own is named."""
    texts: dict[str, str] = {}
    for error in field_errors(errors):
        place, said = place_of(error["field"]), in_language(error["detail"])
        detail = f"{error['field']}: {said}" if place == "form" and error["field"] else said
        texts[place] = " ".join(filter(None, [texts.get(place), detail]))
    return texts


# ---------------------------------------------------------------- what was asked before, ready to be asked again


def form_of(image: GeneratedImage, *, keep_seed: bool) -> PromptForm:
    """What made a picture."""
    form = fill_from(PromptForm(), request_of(image, PromptForm), keep_seed=keep_seed)
    if image.origin == GeneratedImage.Origin.EDITED:
        form.notes.append(_("This picture was made from another one. The form makes a new one from its prompt alone."))
    return form


def request_of(image: GeneratedImage, form_class: type[PromptForm]) -> dict[str, Any]:
    request = {name: value for name, value in image.parameters.items() if name not in CHOSE_A_PICTURE}
    row = {one.name: getattr(image, one.name) for one in form_class.fields() if hasattr(image, one.name)}
    asked = {name: request[name] for name in ("width", "height") if name in request}  # the picture may have been enlarged
    return {**request, **row, **asked}


def form_of_request(request: Mapping[str, Any], *, keep_seed: bool = True, notes: Iterable[str] = ()) -> PromptForm:
    """`request`: a body of the API, or what a job was asked."""
    form = fill_from(PromptForm(), request, keep_seed=keep_seed)
    form.notes += notes
    return form


def fill_from(form: F, request: Mapping[str, Any], *, keep_seed: bool) -> F:
    values = {one.name: value_text(one, request.get(one.name)) for one in form.fields()}
    values["tags"] = ", ".join(request.get("tags") or ())
    if not keep_seed:
        values["seed"] = ""
    form.values = values
    form.kept = [Kept(name, request[name]) for name in KEPT if name not in KEPT_LISTS and request.get(name)]
    for lora in request.get("loras") or ():
        if lora.keys() <= {"id", "weight"}:
            form.loras.append(Lora(lora["id"], f"{lora.get('weight', 1):g}"))
        else:
            form.kept.append(Kept("loras", lora))
    form.kept += [Kept(name, one) for name in ("control", "ip_adapter") for one in request.get(name) or ()]
    return form


def value_text(one: SpecField, value: object) -> str:
    if one.type is bool:
        return "true" if value else ""
    if value == one.default and one.default is not MISSING and not one.rule.decided:
        return ""  # the input is empty where nothing was said
    return "" if value is None or not isinstance(value, str | int | float) else str(value)
