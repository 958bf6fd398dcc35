"""What a chat request may say (OpenAI's parameters and ours), and what it comes to once everything left open is decided."""

import json
import secrets
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.chat.backend_selection import select
from api.chat.json_schemas import schema_fault
from api.chat.messages import MessagesField, clean_text, link_results
from api.chat.models import Conversation
from api.chat.neutral_fields import STREAM_OPTIONS, drop_neutral_fields
from api.chat.openapi import STOP
from api.chat.services import active_messages, find_conversation, link_messages, next_position, read_turns
from api.chat.spec import AUTO, DISABLED, LONGEST_STOP, MOST_STOPS, ChatSpec, TurnParams, images_of
from api.chat.tool_fields import TOOL_FIELDS, ToolChoiceField, ToolsField, check_tools, loose_tools
from api.files.models import StoredFile
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.jobs.models import Job
from api.spec_serializers import build_field
from api.specs import field_of
from api.strict import StrictSerializer

LARGEST_POSITION = 2**31 - 1


@extend_schema_field(STOP)
class StopField(serializers.Field[list[str], object, list[str], object]):
    """A text, or a list of up to four."""

    def to_internal_value(self, data: object) -> list[str]:
        texts = [data] if isinstance(data, str) else data
        if not isinstance(texts, list) or len(texts) > MOST_STOPS or not all(isinstance(text, str) for text in texts):
            raise ValidationError(f"Must be a text, or a list of up to {MOST_STOPS} texts.")
        if not all(0 < len(text) <= LONGEST_STOP for text in texts):
            raise ValidationError(f"Each must have 1 to {LONGEST_STOP} characters.")
        return [clean_text(text) for text in texts]

    def to_representation(self, value: list[str]) -> list[str]:
        return value


class JsonSchemaSerializer(StrictSerializer):
    name = serializers.RegexField(r"^[A-Za-z0-9_-]{1,64}$")
    description = serializers.CharField(required=False, allow_null=True, max_length=2000)
    schema = serializers.DictField(required=False)
    strict = serializers.BooleanField(required=False, allow_null=True)

    def validate_schema(self, value: dict[str, Any]) -> dict[str, object]:
        return check_schema(value)


class ResponseFormatSerializer(StrictSerializer):
    """OpenAI's, and `value`: a schema beside the type json_object, as huggingface_hub's client sends it."""

    type = serializers.ChoiceField(choices=["text", "json_object", "json_schema"])
    json_schema = JsonSchemaSerializer(required=False, allow_null=True)
    value = serializers.DictField(required=False, allow_null=True)

    def validate_value(self, value: dict[str, Any] | None) -> dict[str, object] | None:
        return value and check_schema(value)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        value = data.pop("value", None)
        if (data["type"] == "json_schema") != bool(data.get("json_schema")):
            raise ValidationError({"json_schema": ["Goes with the type json_schema, and only with that."]})
        if value and data["type"] != "json_object":
            raise ValidationError({"value": ["Goes with the type json_object, and only with that."]})
        return {"type": "json_schema", "json_schema": {"name": "value", "schema": value}} if value else data


def check_schema(schema: dict[str, Any]) -> dict[str, object]:
    clean_text(json.dumps(schema, ensure_ascii=False).replace("\\u0000", "\x00"))
    if fault := schema_fault(schema):
        raise ValidationError(f"This schema can't be followed: {fault}", code="invalid_schema")
    return schema


class StreamOptionsSerializer(StrictSerializer):
    include_usage = serializers.BooleanField(required=False, allow_null=True)

    def to_internal_value(self, data: object) -> dict[str, object]:
        return super().to_internal_value(drop_neutral_fields(data, self.fields, STREAM_OPTIONS))


def check_place(conversation: Conversation, place: int) -> None:
    """A branch begins where a request's messages begin, which stay together."""
    here = active_messages(conversation).filter(position=place).first()
    if here is None:
        raise ValidationError({"replace_from": ["The conversation has no message at this position."]}, code="not_found")
    begin = active_messages(conversation).filter(job=here.job_id).values_list("position", flat=True)[0]
    if begin != place:
        text = f"The request that this message belongs to begins at position {begin}; replace from there."
        raise ValidationError({"replace_from": [text]}, code="not_a_beginning")


class ChatSerializer(JobRequest):
    """`context`: principal."""

    spec = ChatSpec

    messages = MessagesField()
    stream = serializers.BooleanField(required=False)
    stream_options = StreamOptionsSerializer(required=False)
    max_completion_tokens = build_field(field_of(ChatSpec, "max_tokens"))
    stop = StopField(required=False)
    response_format = ResponseFormatSerializer(required=False)
    tools = ToolsField(required=False)
    tool_choice = ToolChoiceField(required=False)
    conversation = serializers.UUIDField(required=False)
    replace_from = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_POSITION,
        help_text="A `position` in `conversation`. What it has from there on stays, as another branch; `messages` take its place. "
        "It must be where the messages of a request begin.",
    )

    def to_internal_value(self, data: object) -> dict[str, object]:
        return super().to_internal_value(drop_neutral_fields(data, self.fields))

    def validate_metadata(self, value: dict[str, str] | None) -> dict[str, str] | None:
        for key in value or {}:
            clean_text(key)
        return value

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = {name: value for name, value in data.items() if value is not None}
        limits = {data[name] for name in ("max_tokens", "max_completion_tokens") if name in data}
        if len(limits) > 1:
            raise ValidationError({"max_tokens": ["Differs from max_completion_tokens, which is the same by its newer name."]})
        for name in [name for name in ("top_k", "min_p") if data.get(name, 1) <= 0]:  # as vLLM and SillyTavern say "off"
            del data[name]
        if data.get("repetition_penalty") == 1:
            del data["repetition_penalty"]
        if data.get("top_logprobs") and not data.get("logprobs"):
            raise ValidationError({"top_logprobs": ["Needs logprobs: true."]})
        if data.get("stream_options", {}).get("include_usage") and not data.get("stream"):
            raise ValidationError({"stream_options": ["Only with stream: true."]})
        if data.get("truncation") == DISABLED:
            del data["truncation"]
        self.selection = select(data.get("model"), data.get("backend", "auto"))
        if data.get("truncation") == AUTO and self.selection.backend == "remote":
            raise ValidationError({"truncation": ["A model on another server can't be asked to leave out messages."]})
        self.tool_use = check_tools(data)
        if not data.get("tools"):
            data = {name: value for name, value in data.items() if name not in TOOL_FIELDS}
        self.named, turns, self.length = self.find_history(data)
        self.turns = link_results(turns, known=len(turns) - len(data["messages"]))
        if not self.selection.accepts_images and images_of(self.turns):
            raise ValidationError(
                {"messages": [f"'{self.selection.model}' reads text only; it can't see pictures."]}, code="blind_model"
            )
        data["limit"] = limits.pop() if limits else None
        return data

    def find_history(self, data: dict[str, Any]) -> tuple[Conversation | None, list[TurnParams], int]:
        """A conversation that is named, all that the model is told (what that holds, and what is new), and its length before."""
        place = data.get("replace_from")
        if "conversation" not in data:
            if place is not None:
                raise ValidationError({"replace_from": ["Goes with a conversation, and only with that."]})
            return None, data["messages"], 0
        principal: Principal = self.context["principal"]
        found = find_conversation(owner_key=principal.owner_key, identifier=data["conversation"], see_all=principal.is_staff)
        if found is None:
            raise ValidationError({"conversation": ["There is no conversation with this id."]}, code="not_found")
        if place is not None:
            check_place(found, place)
        return found, [*read_turns(found, before=place), *data["messages"]], next_position(found)

    def resolve(self) -> Submission:
        data = self.validated_data
        spec = ChatSpec.from_json(
            {
                **data,
                "messages": self.turns,
                "model": self.selection.model,
                "backend": self.selection.backend,
                "variant": self.selection.variant,
                "max_tokens": data["limit"],
                "seed": data["seed"] if "seed" in data else secrets.randbelow(2**32),
                "metadata": data.get("metadata", {}),
            }
        )
        return Submission(
            spec,
            fingerprint={
                **spec.to_json(),
                "messages": self.fingerprint(),
                "seed": data.get("seed"),
                "conversation": str(data.get("conversation", "")),
                "replace_from": data.get("replace_from"),
            },
            link=self.link(spec),
            warnings=tuple(
                f"The arguments of {name} fit its schema in part: it has keywords that can't be enforced."
                for name in loose_tools(self.tool_use)
            ),
        )

    def link(self, spec: ChatSpec) -> Callable[[Job], None]:
        """What ties the job to its conversation."""
        return link_messages(
            spec,
            new=len(self.validated_data["messages"]),
            conversation=self.named,
            length=self.length,
            replace_from=self.validated_data.get("replace_from"),
        )

    def fingerprint(self) -> list[Any]:
        """What was sent. The same pictures are the same request, under whatever id they are kept."""
        turns = self.validated_data["messages"]
        hashes = dict(StoredFile.objects.filter(pk__in=images_of(turns)).values_list("pk", "sha256"))
        known = {str(pk): sha256 for pk, sha256 in hashes.items()}
        parts = [[{**part, "image": known.get(part.get("image", ""))} for part in turn["parts"]] for turn in turns]
        return [[turn["role"], of_turn] for turn, of_turn in zip(turns, parts, strict=True)]
