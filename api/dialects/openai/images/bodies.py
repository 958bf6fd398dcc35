"""From a request's JSON or form to OpenAI's fields and ours beside them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import ValidationError

from api.chat.neutral_fields import drop_neutral_fields
from api.dialects.openai.images.fields import MOST_PICTURES
from api.form_data import read_form
from api.images.spec import USUAL_PADDING
from api.json_types import JsonObject
from api.strict import parse_json_text, unknown_names

IMAGE, IMAGES, MASK = "image", "images", "mask"
PICTURES = (IMAGE, IMAGES, MASK)
NAMES = {"model_id": "model", "num_images": "n", "width": "size", "height": "size", "output_quality": "output_compression"}
"""Our names of what OpenAI's fields say, and theirs."""
CUTOUT, BACKGROUND = "cutout", "background"
URL, DETAIL = "image_url", "detail"
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "stream": (False,),
    "partial_images": (0,),
    "quality": ("auto", "standard", "medium"),
    "background": ("auto", "opaque"),
    "moderation": ("auto",),
    "output_compression": (100,),
    "input_fidelity": ("low",),
    "complexity": ("medium",),
    "mask_padding": (USUAL_PADDING,),
}
"""Of what an address does not know, the values that ask for nothing."""


@dataclass(frozen=True)
class ImageBody:
    """A request, in three parts."""

    theirs: JsonObject
    beside: JsonObject
    """Fields of ours at top level (an SDK's `extra_body`)."""
    pictures: list[Any]
    """As they were sent, in their order: texts or files."""
    mask: Any


def read_image_body(data: object, theirs: Mapping[str, Any], ours: Mapping[str, Any], named: Sequence[str]) -> ImageBody:
    """`theirs`, `ours`: the fields of the two serializers; `named`: those that are pictures. Raises ValidationError for any other."""
    ours = {name: field for name, field in ours.items() if name not in NAMES and name not in PICTURES and not field.read_only}
    pictures: list[Any] = []
    if isinstance(data, MultiValueDict):
        data, pictures = take_files(data)
        data = read_form(data, {**ours, **theirs}, parse_json_text)
    if not isinstance(data, Mapping):
        raise ValidationError("The body must be a JSON object.")
    known = [*theirs, *ours, *named]
    left = drop_neutral_fields(data, known, NEUTRAL)
    assert isinstance(left, dict)
    if unknown := unknown_names(left, known, "field"):
        raise ValidationError(unknown, code="unknown_field")
    if pictures and not named:
        raise ValidationError({IMAGE: ["This address makes pictures from words alone."]}, code="unknown_field")
    return ImageBody(
        {name: value for name, value in left.items() if name in theirs},
        {name: value for name, value in left.items() if name in ours},
        pictures or list(pictures_of(left)),
        picture_of(MASK, left.get(MASK)),
    )


def take_files(form: "MultiValueDict[str, Any]") -> "tuple[MultiValueDict[str, Any], list[Any]]":
    """A form without its pictures, and these: `image`, repeated, as `image[]`, or as `image[0]`."""
    rest: MultiValueDict[str, Any] = MultiValueDict()
    pictures: list[Any] = []
    for name, values in form.lists():
        if name == IMAGE or (name.startswith(f"{IMAGE}[") and name.endswith("]")):
            pictures += [value for value in values if value != ""]
        else:
            rest.setlist(name, values)
    return rest, pictures


def pictures_of(data: Mapping[str, Any]) -> Iterator[Any]:
    """Of JSON: one, or a list, under either name."""
    for name in (IMAGE, IMAGES):
        value = data.get(name)
        values = value if isinstance(value, list) else [value]
        if len(values) > MOST_PICTURES:
            raise ValidationError({name: [f"At most {MOST_PICTURES} pictures."]}, code="max_length")
        yield from (picture_of(name, one) for one in values if one is not None)


def picture_of(field: str, value: Any) -> Any:
    """OpenAI's JSON names a picture in an object. Raises ValidationError for one that says anything else."""
    if not isinstance(value, Mapping):
        return value
    said = one_of(field, value, (URL, "file_id"))
    return one_of(field, said, ("url",)) if isinstance(said, Mapping) else said


def one_of(field: str, value: Mapping[str, Any], names: Sequence[str]) -> Any:
    said = {name: one for name, one in value.items() if one is not None and name != DETAIL}
    if unknown := unknown_names(said, list(names), "field"):
        raise ValidationError({field: unknown}, code="unknown_field")
    if len(said) > 1:
        raise ValidationError({field: [f"Send one of {', '.join(names)}."]}, code="repeated")
    return next(iter(said.values()), None)
