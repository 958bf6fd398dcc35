"""The pictures that are here, found by the filters of GET /api/images/."""

import base64
from collections.abc import Collection, Mapping
from typing import Any

from mcp_types import ImageContent
from rest_framework.exceptions import ValidationError

from api.access.principals import visible_to
from api.access.scopes import READ
from api.dialects.mcp.following import Call
from api.dialects.mcp.schemas import Schema, describe, filters_schema, object_schema
from api.dialects.mcp.tools.base import READS, Reply, Result, Tool, lines
from api.files import storage
from api.files.formats import THUMBNAIL
from api.files.inputs import HERE
from api.images.models import GeneratedImage
from api.images.serializers import GeneratedImageSerializer
from api.images.views import ORDERS, ImageFilter, ImageViewSet, with_a_value
from api.jobs.api.database_calls import in_thread
from api.strict import nearest

MOST_FOUND, USUAL_FOUND = 20, 8
SHOWN = (
    "id", "origin", "job", "url", "model_id", "prompt", "negative_prompt", "seed", "width", "height", "rating", "favourite", "tags",
    "clip_score", "created_at",
)  # fmt: skip
TEXTS_OF_FILTERS = {
    "q": "Words that stand together in the prompt.",
    "tag": "One of the picture's tags.",
    "rating": "Exactly this many stars.",
    "min_rating": "This many stars or more.",
    "favourite": "Whether it is marked as a favourite.",
    "source": "The id of a picture: those that were made from it.",
    "origin": "How it came to be.",
    "created_after": "From this time on, e.g. 2026-11-28T00:00:00Z.",
    "created_before": "Before this time.",
}
OWN: dict[str, Schema] = {
    "order": {
        "type": "string",
        "enum": list(ORDERS),
        "default": "newest",
        "description": "clip_score and rating: the best first.",
    },
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_FOUND, "default": USUAL_FOUND},
    "thumbnails": {"type": "boolean", "default": True, "description": "Whether small pictures come with the answer."},
}


class FindInHistory(Tool):
    name = "find_in_history"
    title = "Find pictures in the history"
    description = (
        "Finds pictures that were made or uploaded here, by words of the prompt, dates, rating, tags, model or seed: their ids, parameters "
        "and thumbnails. Without arguments the newest."
    )
    scope = READ
    annotations = READS
    output = object_schema(
        {"pictures": {"type": "array", "items": {"type": "object", "additionalProperties": True}}, "more": {"type": "boolean"}},
        ("pictures", "more"),
    )

    @property
    def names(self) -> Collection[str]:
        return [*ImageFilter.base_filters, *OWN]

    def input_schema(self) -> Schema:
        found = filters_schema(ImageFilter)
        return object_schema({**{name: describe(one, TEXTS_OF_FILTERS.get(name, "")) for name, one in found.items()}, **OWN})

    async def call(self, call: Call) -> Reply:
        self.check_names(call.arguments)
        return await in_thread(find, call)


def find(call: Call) -> Reply:
    arguments = {name: value for name, value in call.arguments.items() if value is not None}
    limit, order = read_limit(arguments.pop("limit", USUAL_FOUND)), read_order(arguments.pop("order", "newest"))
    with_thumbnails = read_flag("thumbnails", arguments.pop("thumbnails", True))
    images = with_a_value(visible_to(call.caller.principal, ImageViewSet.queryset.all()), order)
    found = list(filtered(images, arguments).order_by(*ORDERS[order])[: limit + 1])
    shown, more = found[:limit], len(found) > limit
    pictures = describe_all(shown, call)
    sentences = [*map(tell, pictures), "There are more: ask for a larger limit, or narrow the search." if more else ""]
    contents = [content for image in shown if (content := thumbnail(image))] if with_thumbnails else []
    return Reply(lines(sentences) or "No picture was found.", {"pictures": pictures, "more": more}, contents)


def filtered(images: Any, arguments: Mapping[str, Any]) -> Any:
    """Raises ValidationError. The filters read texts, as a query has them."""
    for name, value in arguments.items():
        if not isinstance(value, str | int | float):
            raise ValidationError({name: ["Must be a text, a number or a boolean."]})
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in arguments.items()}
    filters = ImageFilter(data=texts, queryset=images)
    if not filters.is_valid():
        raise ValidationError({name: list(errors) for name, errors in filters.errors.items()})
    return filters.qs


def read_limit(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_FOUND:
        raise ValidationError({"limit": [f"Must be a whole number from 1 to {MOST_FOUND}."]})
    return value


def read_order(value: object) -> str:
    if not isinstance(value, str) or value not in ORDERS:
        raise ValidationError({"order": [f"There is no such order.{nearest(str(value), list(ORDERS))}"]})
    return value


def read_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationError({name: ["Must be true or false."]})
    return value


def describe_all(images: list[GeneratedImage], call: Call) -> list[Result]:
    shown = GeneratedImageSerializer(images, many=True, context={"request": call.caller.request}).data
    return [{**{name: as_text(data[name]) for name in SHOWN}, "uri": f"{HERE}{data['id']}"} for data in shown]


def as_text(value: Any) -> Any:
    """Ids are UUIDs in the serializer's data."""
    return value if isinstance(value, str | int | float | list | None) else str(value)


def tell(picture: Mapping[str, Any]) -> str:
    prompt = f"“{picture['prompt'][:200]}”, seed {picture['seed']}" if picture["prompt"] else picture["origin"]
    stars = f", {picture['rating']} stars" if picture["rating"] else ""
    return f"Picture {picture['id']}: {prompt}, {picture['width']} × {picture['height']}, {picture['created_at']}{stars}, {picture['url']}"


def thumbnail(image: GeneratedImage) -> ImageContent | None:
    if not image.file.thumbnail_name:
        return None
    try:
        data = storage.read_bytes(image.file.thumbnail_name)
    except FileNotFoundError:
        return None
    return ImageContent(data=base64.b64encode(data).decode(), mime_type=THUMBNAIL.content_type)
