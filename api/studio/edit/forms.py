"""The form that repaints a picture: the prompt box with a picture, a painting, a border that grows, and pictures that steer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.translation import gettext as _

from api.access.principals import Principal
from api.images.models import GeneratedImage
from api.images.serializers import Img2ImgSerializer
from api.jobs.models import Job
from api.specs import SpecField
from api.studio.edit.offers import Steering, find_steering
from api.studio.forms import CHOSE_A_PICTURE, NOT_IN_FORM, OWN_FORMS, OWN_PLACES, PromptForm, fill_from, request_of
from api.studio.inputs import Input

SIDES = ("left", "top", "right", "bottom")
PAINTING = ("mask_blur", "fill", "inpaint_area", "mask_padding")
STEERING = {
    "control": ("use", "image", "model_id", "weight", "start", "end"),
    "ip_adapter": ("image", "model_id", "weight"),
}
"""Parts that are lists of a request: the inputs of the first of each. Others are kept as they were loaded."""
STEERING_INPUTS = tuple(f"{part}_{name}" for part, names in STEERING.items() for name in names)
SIZES = ("width", "height")
MADE_ITS_SOURCE = (*SIZES, "hires", "upscale", "cutout", "variation", "output_quality")
"""Of what made a picture, this says nothing of how it may be changed."""
Picture = str | UploadedFile


@dataclass
class EditForm(PromptForm):
    """`pictures`: those that the request names by id or brings with it, by the name of their input."""

    pictures: dict[str, Picture] = field(default_factory=dict)
    job_id: str = ""
    """The job whose request fills it in."""

    serializer_class: ClassVar[type[Img2ImgSerializer]] = Img2ImgSerializer
    own_places: ClassVar[tuple[str, ...]] = (*OWN_PLACES, "negative_prompt", "strength", *PAINTING)
    own_forms: ClassVar[tuple[str, ...]] = (*OWN_FORMS, "image", "mask", "outpaint", *STEERING, *STEERING_INPUTS)
    own_values: ClassVar[tuple[str, ...]] = ("tags", "image", "mask", *SIDES, *STEERING_INPUTS)
    not_in_form: ClassVar[tuple[str, ...]] = (*NOT_IN_FORM, "mask_invert")
    """The painting itself can be inverted."""

    @property
    def slots(self) -> list[tuple[str, str]]:
        return [slot for slot in super().slots if slot[0] not in STEERING_INPUTS or self.shows(slot[0])]

    def shows(self, name: str) -> bool:
        """Whether the page has this input: only where there is something to steer with."""
        found = self.steering.controlnets if name.startswith("control") else self.steering.adapters
        return bool(found) and self.steering.is_possible

    @cached_property
    def steering(self) -> Steering:
        return find_steering(self.model.id)

    @property
    def own_inputs(self) -> dict[str, Input]:
        return {one.name: self.input_of(one) for one in self.fields() if one.name in self.own_places}

    @property
    def painting_inputs(self) -> list[Input]:
        inputs = self.own_inputs
        return [inputs[name] for name in PAINTING if name in inputs]

    @property
    def sides(self) -> list[tuple[str, str, str]]:
        labels = {"left": _("Left"), "top": _("Top"), "right": _("Right"), "bottom": _("Bottom")}
        return [(side, labels[side], self.values.get(side, "")) for side in SIDES]

    @property
    def is_extended(self) -> bool:
        """What made the picture fills in much of it, which is no reason to show it."""
        return any(self.errors.get(name) for name in (*self.names(), *OWN_FORMS) if name not in self.own_places)

    @property
    def is_steered(self) -> bool:
        return any(self.values.get(name) or self.errors.get(name) for name in (*STEERING, *STEERING_INPUTS))

    def input_of(self, one: SpecField) -> Input:
        found = super().input_of(one)
        return replace(found, placeholder=_("the picture's")) if one.name in SIZES else found

    def take_files(self, files: Mapping[str, Any]) -> None:
        """A browser without scripts sends the pictures themselves."""
        for name in ("image", "mask", "control_image", "ip_adapter_image"):
            if picture := self.values.get(name) or files.get(f"{name}_file"):
                self.pictures[name] = picture

    def request(self) -> dict[str, Any]:
        request: dict[str, Any] = {
            **super().request(),
            **{name: self.pictures[name] for name in ("image", "mask") if name in self.pictures},
        }
        if grown := {side: self.values[side] for side in SIDES if self.values[side].lstrip("0")}:
            request["outpaint"] = grown
        for part, own in (("control", self.control()), ("ip_adapter", self.image_prompt())):
            if own:
                request[part] = [own, *request.get(part, [])]
        return request

    def control(self) -> dict[str, Any]:
        """{} where none is asked for. It is made of the picture itself where no other one is named."""
        how, _colon, value = self.values["control_use"].partition(":")
        picture = self.pictures.get("control_image", self.pictures.get("image"))
        return {how: value, "image": picture, **self.said("control", "model_id", "weight", "start", "end")} if how else {}

    def image_prompt(self) -> dict[str, Any]:
        picture = self.pictures.get("ip_adapter_image")
        return {"image": picture, **self.said("ip_adapter", "model_id", "weight")} if picture else {}

    def said(self, part: str, *names: str) -> dict[str, Any]:
        return {name: self.values[f"{part}_{name}"] for name in names if self.values[f"{part}_{name}"]}

    def place_of(self, field: str) -> str:
        part, *rest = field.split(".")
        if part in STEERING and rest:
            name = {"preprocessor": "use", "kind": "use"}.get(rest[-1], rest[-1])
            own = f"{part}_{name}"
            return own if rest[0] == "0" and name in STEERING[part] and self.shows(own) else part
        return super().place_of(field)


def read_edit_form(data: QueryDict, files: Mapping[str, Any], principal: Principal) -> tuple[EditForm, Any]:
    form = EditForm()
    form.fill(data)
    form.take_files(files)
    return form, form.check(principal)


# ---------------------------------------------------------------- filled in


def form_for(image: GeneratedImage | None, picture_id: str) -> EditForm:
    """For a picture: with the prompt and the model that made it, or the one that it was made from."""
    described = image if image is None or image.is_generated else image.sources.first() or image
    request: dict[str, Any] = {}
    if described is not None and described.is_generated:
        left_out = (*MADE_ITS_SOURCE, *STEERING, *PAINTING, *CHOSE_A_PICTURE, "strength", "outpaint")
        request = {name: value for name, value in request_of(described, EditForm).items() if name not in left_out}
    return with_own_values(fill_from(EditForm(), request, keep_seed=False), {**request, "image": picture_id})


def form_of_job(job: Job) -> EditForm:
    """What a job was asked."""
    request = job.params
    kept = {**request, **{part: request.get(part, [])[1:] for part in STEERING}}
    return with_own_values(fill_from(EditForm(job_id=str(job.pk)), kept, keep_seed=True), request)


def with_own_values(form: EditForm, request: dict[str, Any]) -> EditForm:
    grown = request.get("outpaint") or {}
    own = {side: str(grown[side]) for side in SIDES if grown.get(side)}
    own |= {name: request[name] for name in ("image", "mask") if request.get(name)}
    for part, names in STEERING.items():
        first: dict[str, Any] = next(iter(request.get(part) or ()), {})
        own |= {f"{part}_{name}": f"{first[name]}" for name in names if first.get(name) is not None}
        if how := next((name for name in ("preprocessor", "kind") if first.get(name)), ""):
            own["control_use"] = f"{how}:{first[how]}"
    if own.get("control_image") == request.get("image"):
        own.pop("control_image", None)
    form.values = {**dict.fromkeys(form.own_values, ""), **form.values, **own}
    return form
