"""What may be asked of a prompt and of a picture's file, and the answers."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import LONGEST_NAME
from api.files.errors import InvalidImage, MissingFile
from api.files.formats import list_labels
from api.files.inputs import decode_input, parse_id
from api.files.models import StoredFile
from api.files.services import mark_used, read_file
from api.images.models import GeneratedImage
from api.images.prompt_preview import preview_prompts
from api.images.prompt_syntax.syntaxes import SYNTAXES
from api.images.scheduler_presets import MOST_STEPS
from api.images.serializers import Txt2ImgSerializer, default_syntax, find_default
from api.images.spec import LONGEST_PROMPT
from api.json_types import JsonObject
from api.strict import ChoiceField, StrictSerializer


class PromptSerializer(StrictSerializer):
    """A prompt to be read."""

    prompt = serializers.CharField(max_length=LONGEST_PROMPT)
    negative_prompt = serializers.CharField(max_length=LONGEST_PROMPT, allow_blank=True, default="")
    prompt_syntax = ChoiceField(choices=SYNTAXES, required=False)
    model_id = serializers.CharField(max_length=LONGEST_NAME, required=False)
    steps = serializers.IntegerField(
        min_value=1, max_value=MOST_STEPS, required=False, help_text="For what changes with the steps: `[from:to:when]`."
    )

    def validate_model_id(self, value: str) -> str:
        return Txt2ImgSerializer().validate_model_id(value)

    def preview(self) -> JsonObject:
        data = self.validated_data
        entry = find_default(data.get("model_id"))
        return preview_prompts(
            prompt=data["prompt"],
            negative_prompt=data["negative_prompt"],
            syntax=data.get("prompt_syntax") or default_syntax(),
            steps=data.get("steps") or entry.default_steps,
            entry=entry,
        )


class StretchSerializer(serializers.Serializer[Any]):
    part = serializers.IntegerField(help_text="Of a prompt that is composed by AND: which of its parts, from 0 on.")
    weight = serializers.FloatField(help_text="Of that part.")
    last_step = serializers.IntegerField(help_text="The prompt is this up to and with this step.")
    tokens = serializers.IntegerField()
    chunks = serializers.ListField(child=serializers.IntegerField(), help_text="Tokens in each window.")
    pieces = serializers.ListField(
        child=serializers.DictField(), help_text="`text` with its `weight`, or `break`, where a new window begins."
    )


class ReadPromptSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="Without the adapters that it names.")
    tokens = serializers.IntegerField(help_text="Of the longest stretch.")
    stretches = StretchSerializer(many=True)


class NamedLoraSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    weight = serializers.FloatField()


class NamedEmbeddingSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    id = serializers.CharField()
    vectors = serializers.IntegerField(help_text="Tokens that it takes.")


class PromptAnswerSerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    prompt_syntax = ChoiceField(choices=SYNTAXES)
    tokenizer = serializers.CharField(
        help_text="`model`: the model's own; `clip`: CLIP's vocabulary, which is the model's too; `estimate`: a rule of thumb."
    )
    window = serializers.IntegerField(help_text="Tokens that fit in one window.")
    prompt = ReadPromptSerializer()
    negative_prompt = ReadPromptSerializer()
    loras = NamedLoraSerializer(many=True)
    embeddings = NamedEmbeddingSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class SentFile:
    """The bytes of a picture's file as they are; of one that was made here, also what its row says."""

    def __init__(self, data: bytes, parameters: JsonObject | None = None) -> None:
        self.data, self.parameters = data, parameters


SCHEMA = {
    "type": "string",
    "description": f"An image ({list_labels()}): base64, a data URL, a multipart file, or the id of an image here. An upload that is "
    "kept here has lost its parameters: send the file itself.",
}


@extend_schema_field(SCHEMA)
class SentFileField(serializers.Field[SentFile, object, str, object]):
    """The context has `principal`."""

    def to_internal_value(self, data: Any) -> SentFile:
        try:
            identifier = parse_id(data)
            return SentFile(decode_input(data)) if identifier is None else self.find(str(identifier))
        except InvalidImage as error:
            raise ValidationError(error.detail, code=error.code) from None

    def find(self, identifier: str) -> SentFile:
        principal = self.context["principal"]
        files = StoredFile.objects.filter(pk=identifier)
        file = mark_used(files if principal.is_staff else files.filter(owner_key=principal.owner_key))
        if file is None:
            raise InvalidImage("There is no image with this id.", "not_found")
        image = GeneratedImage.objects.filter(pk=file.pk).first()
        try:
            return SentFile(read_file(file), image.parameters if image and image.is_generated else None)
        except MissingFile as error:
            raise InvalidImage(error.detail, "not_found") from None


class PngInfoSerializer(StrictSerializer):
    """A picture whose parameters are to be read."""

    image = SentFileField()


class MissingSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="model, lora, embedding, vae, sampler …")
    name = serializers.CharField()


class PngInfoAnswerSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]  # DRF takes declared fields out of the class
        allow_null=True, help_text="Which program wrote the parameters; null where there are none."
    )
    parameters = serializers.CharField(help_text="As they are in the file.")
    request = serializers.DictField(allow_null=True, help_text="A body for POST /api/txt2img/.")
    missing = MissingSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())
