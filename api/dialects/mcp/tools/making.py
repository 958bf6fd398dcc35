"""Pictures from prompts, and from pictures."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings

from api.dialects.mcp.following import Call
from api.dialects.mcp.pictures import show_pictures
from api.dialects.mcp.schemas import Schema, describe, object_schema
from api.dialects.mcp.tools.base import (
    NUMBER,
    TEXT,
    TEXTS,
    JobTool,
    Reply,
    Result,
    lines,
    tell_warnings,
)
from api.files.inputs import HERE
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer, known_models
from api.jobs.models import Job

WHOLE: Schema = {"type": "integer"}
PICTURE_FIELDS: dict[str, Schema] = {
    "id": TEXT,
    "url": TEXT,
    "uri": TEXT,
    "width": WHOLE,
    "height": WHOLE,
    "seed": WHOLE,
    "scores": {"type": "object", "additionalProperties": True},
}
PICTURES_OUTPUT = object_schema(
    {
        "job": TEXT,
        "model_id": TEXT,
        "pictures": {"type": "array", "items": object_schema(PICTURE_FIELDS, ("id", "url", "uri", "width", "height", "seed"))},
        "candidates": {"type": "array", "items": object_schema({"seed": WHOLE, "clip_score": NUMBER})},
        "warnings": TEXTS,
    },
    ("job", "model_id", "pictures", "warnings"),
)
MADE_FROM_PROMPT = (
    "prompt", "negative_prompt", "model_id", "width", "height", "steps", "guidance_scale", "seed", "num_images", "best_of",
    "scheduler", "loras", "preset", "tags",
)  # fmt: skip
TEXTS_OF_FIELDS = {
    "prompt": "What the picture shows, in words. `(red)++` weighs a word more.",
    "negative_prompt": "What it must not show.",
    "steps": "More are slower and finer; by default the model's own.",
    "guidance_scale": "How closely it follows the prompt; by default the model's own.",
    "seed": "The same seed and arguments make the same picture again. Drawn and told when left out; picture i uses seed + i.",
    "num_images": "How many pictures.",
    "loras": "Styles, by id and weight.",
    "tags": "Words to find the pictures by later.",
}


class MakePicture(JobTool):
    name = "make_picture"
    title = "Make a picture"
    description = (
        "Makes pictures from a prompt and keeps them in the history. Returns each with its id, which the other tools take, its seed and "
        "its URL. Only the prompt is needed."
    )
    serializer = Txt2ImgSerializer
    fields: ClassVar[tuple[str, ...]] = MADE_FROM_PROMPT
    output = PICTURES_OUTPUT
    texts: ClassVar[Mapping[str, str]] = TEXTS_OF_FIELDS

    def input_schema(self) -> Schema:
        """With the models that are known now."""
        known = f"Which model; by default {settings.DEFAULT_IMAGE_MODEL}.{known_models()}"
        properties = self.schema["properties"]
        return {**self.schema, "properties": {**properties, "model_id": describe(properties["model_id"], known)}}

    def show(self, job: Job, result: Result, call: Call) -> Reply:
        pictures = [picture_of(image) for image in result["images"]]
        structured: Result = {
            "job": str(job.pk),
            "model_id": job.model_id,
            "pictures": pictures,
            "warnings": list(job.warnings),
        }
        if result.get("candidates"):
            structured["candidates"] = [candidate_of(one) for one in result["candidates"]]
        text = lines([f"Job {job.pk}, model {job.model_id}.", *map(tell_picture, pictures), tell_warnings(job.warnings)])
        return Reply(text, structured, show_pictures(picture["id"] for picture in pictures))


class EditPicture(MakePicture):
    name = "edit_picture"
    title = "Edit a picture"
    description = (
        "Makes new pictures from an existing one and a prompt that says what it shall show; the original stays. With a mask only its white "
        "parts are painted anew, with outpaint the picture is grown."
    )
    serializer = Img2ImgSerializer
    fields = ("image", "strength", "mask", "mask_invert", "outpaint", *MADE_FROM_PROMPT)
    pictures = ("image", "mask")
    texts: ClassVar[Mapping[str, str]] = {
        **TEXTS_OF_FIELDS,
        "prompt": "What the new picture shows: all of it, not only what changes.",
        "mask": "White is painted anew, black is kept: a picture's id, its URL here, a data URL or base64.",
    }


def picture_of(image: Mapping[str, Any]) -> Result:
    known = {name: image[name] for name in ("id", "url", "width", "height", "seed")}
    return {**known, "uri": f"{HERE}{image['id']}", "scores": image.get("scores") or {}}


def candidate_of(candidate: Mapping[str, Any]) -> Result:
    scores = candidate.get("scores") or {}
    return {"seed": candidate["seed"], "clip_score": scores.get("clip_score")}


def tell_picture(picture: Mapping[str, Any]) -> str:
    return f"Picture {picture['id']}: {picture['width']} × {picture['height']}, seed {picture['seed']}, {picture['url']}"
