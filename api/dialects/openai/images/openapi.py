"""OpenAI's image requests and answers for the OpenAPI document. Bodies are read by fields.py and bodies.py, answers made in replies.py."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers

from api.dialects.openai.images.bodies import NAMES, PICTURES
from api.dialects.openai.images.fields import EditFields, GenerationFields, VariationFields
from api.files.fields import ImageInputField
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.jobs.api.serializers import JobSerializer
from api.strict import StrictSerializer

STREAM = {
    "type": "string",
    "description": "With `stream: true`: Server-Sent Events `image_generation.partial_image` (`image_edit.…` of an edit) with a small JPEG "
    "of what the picture will be, up to `partial_images` of them, and `image_generation.completed` for each picture, or `error`. A "
    "comment line every 15 s of silence says that the server is still there.",
}
PICTURE = {
    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1}],
    "description": "A file (`image` or `image[]` of a form), or base64, a data URL, or the id of a picture here. The models take one.",
}


@extend_schema_field(PICTURE)
class SourceField(ImageInputField):
    """For the document alone."""


class MaskField(ImageInputField):
    """For the document alone."""


def documented(
    name: str, theirs: type[serializers.Serializer[Any]], ours: type[serializers.Serializer[Any]], **own: Any
) -> Any:
    """OpenAI's fields, those that are particular to an address, and ours beside them."""
    beside = {
        field: one for field, one in ours._declared_fields.items() if field not in NAMES and field not in (*PICTURES, "prompt")
    }
    return type(name, (StrictSerializer,), {**own, **theirs._declared_fields, **beside})


PROMPT = Txt2ImgSerializer._declared_fields["prompt"]
MASK_HELP = "What is transparent in it is painted anew. As wide and high as the picture."
GenerationRequest = documented("OpenAIImageGeneration", GenerationFields, Txt2ImgSerializer, prompt=PROMPT)
EditRequest = documented(
    "OpenAIImageEdit",
    EditFields,
    Img2ImgSerializer,
    image=SourceField(),
    prompt=PROMPT,
    mask=MaskField(required=False, allow_null=True, help_text=MASK_HELP),
)
VariationRequest = documented(
    "OpenAIImageVariation",
    VariationFields,
    Img2ImgSerializer,
    image=SourceField(),
    prompt=serializers.CharField(
        required=False, allow_null=True, help_text="What the picture shows. Default: what its file says of it, if it does."
    ),
)


class OpenAIImageSerializer(serializers.Serializer[object]):
    b64_json = serializers.CharField(required=False)
    url = serializers.CharField(required=False, help_text="Answers to the same key.")
    revised_prompt = serializers.CharField(required=False, help_text="The prompt that was used, where it is not the one sent.")
    id = serializers.UUIDField(help_text="The picture here: GET /api/images/{id}/.")
    seed = serializers.IntegerField()


class ImageTokensSerializer(serializers.Serializer[object]):
    text_tokens = serializers.IntegerField()
    image_tokens = serializers.IntegerField()


class ImageUsageSerializer(serializers.Serializer[object]):
    total_tokens = serializers.IntegerField(help_text="0: nothing is billed here.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    input_tokens_details = ImageTokensSerializer()


class OpenAIImagesSerializer(serializers.Serializer[object]):
    created = serializers.IntegerField(help_text="Unix seconds")
    data = OpenAIImageSerializer(many=True)  # type: ignore[assignment]
    background = serializers.CharField()
    output_format = serializers.CharField(required=False, help_text="png, jpeg or webp")
    size = serializers.CharField(required=False, help_text="Where it is one that OpenAI has, too.")
    quality = serializers.CharField(required=False)
    usage = ImageUsageSerializer()
    model = serializers.CharField()
    job = serializers.UUIDField(help_text="The record here: GET /api/jobs/{id}/.")
    warnings = serializers.ListField(child=serializers.CharField())


WAITING = (
    "The request waits for its pictures, however long that takes. A client that leaves does not cancel them: an SDK that timed out and "
    "asks again in the same words joins the job that is still under way. Beside OpenAI's fields all of {address} may stand at top level "
    "(an SDK's `extra_body`). Fields that aren't listed are taken where they ask for nothing, and refused by name where they ask for "
    "something."
)


def describe(text: str, address: str, request: Any, *, streams: bool = True) -> Any:
    return extend_schema(
        description=f"{text} {WAITING.format(address=address)}",
        request={"application/json": request, "multipart/form-data": request},
        responses={
            (200, "application/json"): OpenAIImagesSerializer,
            **({(200, "text/event-stream"): STREAM} if streams else {}),
            202: JobSerializer,
        },
    )


generations = describe("OpenAI's image generations.", "/api/txt2img/", GenerationRequest)
edits = describe(
    "OpenAI's image edits: the picture at the usual strength of /api/img2img/; with a mask, what is transparent in that is painted anew.",
    "/api/img2img/",
    EditRequest,
)
variations = describe("OpenAI's image variations.", "/api/img2img/", VariationRequest, streams=False)
