"""A request that varies a picture which was made here: where its noise begins, and what it leaves open."""

from collections.abc import Collection, Mapping
from typing import NoReturn

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError

from api.files.inputs import parse_id
from api.images.models import GeneratedImage
from api.images.seeds import Variation
from api.json_types import JsonObject
from api.spec_serializers import nested

OF_ONE_REQUEST = ("seed", "num_images", "best_of", "rank_by", "tags", "variation", "preset")
"""What the picture's request said of itself alone."""
SOURCE = "image"


def read_variation(data: JsonObject, pictures: QuerySet[GeneratedImage], names: Collection[str]) -> JsonObject:
    """`data` with the seed of the picture that `variation.image` names, and with what made it wherever `data` says nothing.

    `pictures`: those that the requester may see; `names`: the fields of a request. Raises ValidationError. What has a wrong type is left
    for its field to refuse.
    """
    variation = data.get("variation")
    if not isinstance(variation, Mapping) or not isinstance(variation.get(SOURCE), str):
        return data
    identifier = parse_id(variation[SOURCE])
    image = pictures.filter(pk=identifier).first() if identifier else None
    if image is None:
        if variation.get("seed") is not None:  # the request of a job, whose picture has gone
            return data
        refuse(SOURCE, "There is no picture with this id.", "not_found")
    if not image.is_generated or image.seed is None:
        refuse(SOURCE, "This picture was not made from a seed here, so it can't be varied.", "no_seed")
    seed, earlier = origin_of(image)
    if is_other("seed", variation.get("seed"), seed):
        refuse("seed", f"This picture began with the seed {seed}: leave `seed` out, or `image`.", "other_seed")
    if is_other("earlier", variation.get("earlier"), earlier):
        detail = "It is not what was mixed into this picture's noise: leave `earlier` out, or `image`."
        refuse("earlier", detail, "other_earlier")
    made_by = {name: value for name, value in image.parameters.items() if value is not None and name not in OF_ONE_REQUEST}
    if SOURCE in made_by and SOURCE not in names:
        refuse(SOURCE, "This picture was made from another one: send the request to /api/img2img/.", "edited")
    base = {name: value for name, value in made_by.items() if name in names}
    varied = {**variation, SOURCE: str(image.pk), "seed": seed, "earlier": earlier}
    return {**base, **data, "variation": varied}


def is_other(name: str, sent: object, value: object) -> bool:
    """Whether the client sent another value than the picture's for this field. Raises ValidationError for one that the field refuses."""
    if sent is None:
        return False
    field = nested(Variation)().fields[name]
    try:
        return bool(field.run_validation(sent) != field.run_validation(value))
    except ValidationError as error:
        raise ValidationError({"variation": {name: error.detail}}) from None


def origin_of(image: GeneratedImage) -> tuple[int, list[JsonObject]]:
    """The seed that its noise began with, and what was mixed in."""
    own, variation = image.seed or 0, image.parameters.get("variation")
    if not variation or variation["strength"] == 1:
        return own, []
    return variation["seed"], [*variation["earlier"], {"seed": own, "strength": variation["strength"]}]


def refuse(field: str, detail: str, code: str) -> NoReturn:
    raise ValidationError({"variation": {field: [detail]}}, code=code)
