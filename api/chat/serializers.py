"""What a chat request may say (OpenAI's parameters and ours), and what it comes to once everything left open is decided."""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.chat.backend_selection import select
from api.chat.messages import MessagesField, clean_text, link_results
from api.chat.models import Conversation
from api.chat.neutral_fields import STREAM_OPTIONS, drop_neutral_fields, drop_off_values, is_empty
from api.chat.openapi import LOGIT_BIAS, STOP
from api.chat.schema_keywords import enforceable
from api.chat.server_tools.offer import InSight, definitions
from api.chat.services import active_messages, find_conversation, link_messages, next_position, read_turns
from api.chat.spec import (
    AUTO,
    DISABLED,
    LARGEST_BIAS,
    LONGEST_STOP,
    MOST_BIASES,
    MOST_STOPS,
    ChatSpec,
    TurnParams,
    images_of,
)
from api.chat.tool_fields import (
    MOST_CHARACTERS,
    TOOL_FIELDS,
    ToolChoiceField,
    ToolsField,
    check_server_tools,
    check_server_use,
    check_tools,
    ignored_keywords,
)
from api.files.models import StoredFile
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.jobs.models import Job
from api.spec_serializers import build_field
from api.specs import field_of
from api.strict import MOST_NAMED, ChoiceField, StrictSerializer

LARGEST_POSITION = 2**31 - 1
TOKEN_ID = re.compile(r"0|[1-9]\d{0,8}")


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
    name = serializers.RegexField(r"^[A-Za-z0-9_-]{1,64}$", default="answer")
    description = serializers.CharField(required=False, allow_null=True, max_length=2000)
    schema = serializers.DictField(required=False)
    strict = serializers.BooleanField(required=False, allow_null=True)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        check_schema("schema", data.get("schema"), is_strict=bool(data.get("strict")))
        return data


class ResponseFormatSerializer(StrictSerializer):
    """OpenAI's, and a schema beside the type json_object: `value`, as huggingface_hub's client sends it, or `schema`, as llama.cpp's do."""

    type = ChoiceField(choices=["text", "json_object", "json_schema"])
    json_schema = JsonSchemaSerializer(required=False, allow_null=True)
    value = serializers.DictField(required=False, allow_null=True)
    schema = serializers.DictField(required=False, allow_null=True)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        given = {name: data.pop(name, None) for name in ("value", "schema")}
        for name, schema in given.items():
            check_schema(name, schema)
        value = given["value"] or given["schema"]
        if (data["type"] == "json_schema") != bool(data.get("json_schema")):
            raise ValidationError({"json_schema": ["Goes with the type json_schema, and only with that."]})
        if value and data["type"] != "json_object":
            named = "value" if given["value"] else "schema"
            raise ValidationError({named: ["Goes with the type json_object, and only with that."]})
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": value}} if value else data


def check_schema(name: str, schema: dict[str, Any] | None, *, is_strict: bool = False) -> None:
    """Raises ValidationError."""
    if not schema:
        return
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) > MOST_CHARACTERS:
        raise ValidationError(
            {name: [f"The schema has {len(text)} characters; {MOST_CHARACTERS} is the limit."]}, code="too_long"
        )
    clean_text(text.replace("\\u0000", "\x00"))
    found = enforceable(schema)
    if fault := found.strict_fault() if is_strict else found.fault:
        raise ValidationError({name: [f"This schema can't be followed: {fault}"]}, code="invalid_schema")


def told_keywords(whose: str, paths: Sequence[str]) -> Iterator[str]:
    """Of a schema's keywords that can't be enforced. Without the names of fields, which each dialect has its own for."""
    for path in paths[:MOST_NAMED]:
        what = "counts as anyOf" if path.endswith("oneOf") else "has no effect"
        yield f"{whose}: '{path}' {what}, since it can't be enforced here."
    if len(paths) > MOST_NAMED:
        yield f"{whose}: {len(paths) - MOST_NAMED} more keywords have no effect."


class StreamOptionsSerializer(StrictSerializer):
    include_usage = serializers.BooleanField(required=False, allow_null=True)

    def to_internal_value(self, data: object) -> dict[str, object]:
        return super().to_internal_value(drop_neutral_fields(data, self.fields, STREAM_OPTIONS))


def check_stream_options(data: dict[str, Any]) -> None:
    if data.get("stream_options", {}).get("include_usage") and not data.get("stream"):
        raise ValidationError({"stream_options": ["Only with stream: true."]})


@extend_schema_field(LOGIT_BIAS)
class LogitBiasField(serializers.Field[dict[str, float], object, dict[str, float], object]):
    """Numbers by token id. Whether the model has these tokens is known where it runs."""

    def to_internal_value(self, data: object) -> dict[str, float] | None:  # type: ignore[override]
        if is_empty(data):
            return None
        if not isinstance(data, dict):
            raise ValidationError("Must be an object: numbers by token id.")
        if len(data) > MOST_BIASES:
            raise ValidationError(f"There are {len(data)} tokens; {MOST_BIASES} is the limit.", code="too_many")
        if wrong := {key: [fault] for key, value in data.items() if (fault := bias_fault(key, value))}:
            raise ValidationError(dict(islice(wrong.items(), MOST_NAMED)))
        return {key: float(value) for key, value in data.items()}

    def to_representation(self, value: dict[str, float]) -> dict[str, float]:
        return value


def bias_fault(key: str, value: object) -> str:
    if not TOKEN_ID.fullmatch(key):
        return "Is no token id."
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -LARGEST_BIAS <= float(value) <= LARGEST_BIAS:  # type: ignore[arg-type]
        return f"Must be a number from -{LARGEST_BIAS} to {LARGEST_BIAS}."
    return ""


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
    logit_bias = LogitBiasField(required=False)
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

    def validate_server_tools(self, value: list[str] | None) -> list[str]:
        return check_server_tools(value or ())

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = drop_off_values(data)
        limits = {data[name] for name in ("max_tokens", "max_completion_tokens") if name in data}
        if len(limits) > 1:
            raise ValidationError({"max_tokens": ["Differs from max_completion_tokens, which is the same by its newer name."]})
        if data.get("top_logprobs") and not data.get("logprobs"):
            raise ValidationError({"top_logprobs": ["Needs logprobs: true."]})
        check_stream_options(data)
        if data.get("truncation") == DISABLED:
            del data["truncation"]
        self.selection = select(data.get("model"), data.get("backend", "auto"))
        if data.get("truncation") == AUTO and self.selection.backend == "remote":
            raise ValidationError({"truncation": ["A model on another server can't be asked to leave out messages."]})
        check_server_use(data)
        self.tool_use = check_tools(data, definitions(data.get("server_tools", ()), InSight()))
        if not (data.get("tools") or data.get("server_tools")):
            data = {name: value for name, value in data.items() if name not in TOOL_FIELDS}
        self.named, turns, self.length = self.find_history(data)
        self.turns = link_results(turns, known=len(turns) - len(data["messages"]))
        if not self.selection.accepts_images and images_of(turn for turn in self.turns if turn["role"] != "tool"):
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
        messages: Any = self.fields["messages"]
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
            warnings=(
                *self.unseen_pictures(),
                *self.ignored_keywords(),
                *(f"{name}: What was thought before is not shown to this model." for name in messages.thoughts),
            ),
        )

    def ignored_keywords(self) -> Iterator[str]:
        for name, paths in ignored_keywords(self.tool_use).items():
            yield from told_keywords(f"The schema of the tool {name}", paths)
        schema = ((self.validated_data.get("response_format") or {}).get("json_schema") or {}).get("schema")
        if schema:
            yield from told_keywords("The answer's schema", enforceable(schema).ignored)

    def unseen_pictures(self) -> list[str]:
        if self.selection.accepts_images or not images_of(self.turns):
            return []
        return [f"'{self.selection.model}' reads text only; pictures of tools' results are not shown to it."]

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
