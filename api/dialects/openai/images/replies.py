"""A job's pictures in OpenAI's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.dialects.openai.images.fields import AUTO, SHOWN_QUALITIES
from api.errors import DarkroomError
from api.images.rendering import read_base64
from api.jobs.models import Job
from api.json_types import JsonObject

SIZES = ("1024x1024", "1024x1536", "1536x1024")
FORMATS = ("png", "jpeg", "webp")
"""Those that OpenAI has words for; what isn't among them is left out of an answer, since clients check it."""
NO_USAGE: JsonObject = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}
"""Nothing is billed here, and so nothing counted."""


@dataclass(frozen=True)
class AnswerForm:
    """What of a request the answer depends on, and the job does not."""

    in_base64: bool
    quality: str
    """"" where the request said its steps itself."""
    prompt: str


def pictures_answer(job: Job, images: Sequence[Mapping[str, Any]], form: AnswerForm) -> JsonObject:
    """`images` as the job's result has them, their addresses absolute."""
    size = size_of(images)
    return {
        "created": int(job.created_at.timestamp()),
        "data": [picture_answer(job, image, form) for image in images],
        "background": background_of(job),
        **({"output_format": job.params["output_format"]} if job.params["output_format"] in FORMATS else {}),
        **({"size": size} if size in SIZES else {}),
        **({"quality": shown_quality(form)} if form.quality else {}),
        "usage": NO_USAGE,
        "model": job.model_id,
        "job": str(job.pk),
        "warnings": job.warnings,
    }


def picture_answer(job: Job, image: Mapping[str, Any], form: AnswerForm) -> JsonObject:
    """Beside OpenAI's, the picture's id and seed here."""
    content = {"b64_json": content_of(image)} if form.in_base64 else {"url": image["url"]}
    revised = {"revised_prompt": job.params["prompt"]} if job.params["prompt"] != form.prompt else {}
    return {**content, **revised, "id": image["id"], "seed": image["seed"]}


def content_of(image: Mapping[str, Any]) -> str:
    """Raises DarkroomError."""
    content = read_base64(image["id"])
    if content is None:
        raise DarkroomError("picture_gone", 410, "The picture was deleted.")
    return content


def background_of(job: Job) -> str:
    return "transparent" if job.params.get("cutout") else "opaque"


def size_of(images: Sequence[Mapping[str, Any]]) -> str:
    return f"{images[0]['width']}x{images[0]['height']}" if images else AUTO


def shown_quality(form: AnswerForm) -> str:
    return SHOWN_QUALITIES.get(form.quality, form.quality)
