"""The fields of OpenAI's Responses, and what they come to in a chat completion's."""

from collections.abc import Iterator, Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.chat.limits import MAX_CHARACTERS
from api.chat.messages import clean_text, refuse_unknown
from api.chat.neutral_fields import ANY_VALUE, NEUTRAL_VALUES, drop_neutral_fields, is_empty
from api.chat.serializers import ChatSerializer
from api.chat.tool_fields import read_each
from api.dialects.openai.responses.items import INPUT, ReadInput
from api.json_types import JsonObject
from api.strict import ChoiceField, StrictSerializer, nearest, unknown_names

LOGPROBS = "message.output_text.logprobs"
INCLUDABLE = (
    LOGPROBS, "message.input_image.image_url", "reasoning.encrypted_content", "file_search_call.results", "web_search_call.results",
    "web_search_call.action.sources", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
)  # fmt: skip
"""Those of tools and of reasoning that there are none of here add nothing."""
NOT_OURS = ("messages", "max_tokens", "max_completion_tokens", "response_format", "n", "logprobs", "replace_from")
"""Fields of a chat completion that Responses say otherwise, or not at all."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    **{name: values for name, values in NEUTRAL_VALUES.items() if name not in ("store", "verbosity", "reasoning_effort")},
    "n": (1,),
    "prompt": (),
    "prompt_cache_options": (ANY_VALUE,),
    "context_management": (),
    "moderation": (),
    "access_programs": (),
    "image": (),
}
REASONING: dict[str, tuple[Any, ...]] = {
    "effort": ("none", "medium"),
    "summary": ("auto", "concise", "detailed"),
    "generate_summary": ("auto", "concise", "detailed"),
    "context": ("auto", "current_turn", "all_turns"),
    "mode": ("standard",),
}
"""No model here reasons apart from its answer: a summary of that is none."""
TOOL_FIELDS = ("type", "name", "description", "parameters", "strict", "output_schema", "defer_loading", "allowed_callers")
FORMAT_FIELDS = ("type", "name", "description", "schema", "strict")
COUNTED = (
    *("conversation", "input", "instructions", "model", "parallel_tool_calls", "previous_response_id", "reasoning", "text"),
    *("tool_choice", "tools", "truncation"),
)
"""OpenAI's fields of a count of tokens."""
LONGEST_ID = 100


class InputField(serializers.Field[Any, object, Any, object]):
    """Read by items.py."""

    def to_internal_value(self, data: object) -> object:
        return data

    def to_representation(self, value: object) -> object:
        return value


class ToolsField(InputField):
    """Functions in Responses' flat form, as a chat completion has them."""

    def to_internal_value(self, data: object) -> object:
        return read_each(data, nested_tool) if isinstance(data, list) else data


class ToolChoiceField(InputField):
    def to_internal_value(self, data: object) -> object:
        return nested_choice(data)


class TextSerializer(StrictSerializer):
    format = InputField(required=False)
    verbosity = ChoiceField(choices=["low", "medium", "high"], required=False)

    def validate_format(self, value: Any) -> JsonObject:
        """As a chat completion's response_format."""
        if not isinstance(value, Mapping):
            raise ValidationError("Must be an object with a type.")
        refuse_unknown(value, FORMAT_FIELDS)
        if value.get("type") == "json_schema" and is_empty(value.get("schema")) and value.get("schema") != {}:
            raise ValidationError({"schema": ["The type json_schema needs one; json_object is any object."]}, code="required")
        rest = {name: one for name, one in value.items() if name in FORMAT_FIELDS and name != "type" and not is_empty(one)}
        return {"type": value.get("type"), **({"json_schema": rest} if rest else {})}

    def validate_verbosity(self, value: str) -> str:
        if value != "medium":
            raise ValidationError("Models here have no verbosity: ask for short or long answers in words.", code="unsupported")
        return value


class ResponseStreamOptions(StrictSerializer):
    include_obfuscation = serializers.BooleanField(required=False, help_text="Nothing is added to the events.")


class ResponseFields(StrictSerializer):
    """Those that a chat completion does not have, or has otherwise."""

    input = InputField()
    instructions = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        max_length=MAX_CHARACTERS,
        help_text="A system message in front of all others. Those of the previous response are not told again.",
    )
    previous_response_id = serializers.CharField(
        required=False,
        max_length=LONGEST_ID,
        help_text="The answer that this goes on from. What was said up to it is told again; a second request that goes on from the same "
        "answer is another branch of its conversation.",
    )
    conversation = InputField(required=False, help_text="A conversation's id, or an object with it. `input` goes on with it.")
    max_output_tokens = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)
    max_tool_calls = serializers.IntegerField(
        required=False,
        min_value=1,
        help_text="Of the server's own tools (`server_tools`), in all turns together. Has no effect on others.",
    )
    tools = ToolsField(required=False)
    tool_choice = ToolChoiceField(required=False)
    text = TextSerializer(required=False)
    reasoning = serializers.DictField(required=False)
    include = serializers.ListField(child=serializers.CharField(), required=False)
    top_logprobs = serializers.IntegerField(required=False, min_value=0, max_value=20)
    prompt_cache_key = serializers.CharField(required=False, allow_blank=True, help_text="Has no effect, and is told back.")
    safety_identifier = serializers.CharField(required=False, allow_blank=True, help_text="Has no effect, and is told back.")
    store = serializers.BooleanField(
        default=True,
        help_text="false: the response can't be read again, nor gone on from. Its job stays in the history (GET /api/jobs/), as every "
        "job does.",
    )
    background = serializers.BooleanField(default=False, help_text="Answered at once, with the response as it is queued.")
    stream = serializers.BooleanField(default=False)
    stream_options = ResponseStreamOptions(required=False)

    def validate_instructions(self, value: str) -> str:
        return clean_text(value)

    def validate_conversation(self, value: Any) -> Any:
        return value.get("id") if isinstance(value, Mapping) else value

    def validate_reasoning(self, value: dict[str, Any]) -> dict[str, Any]:
        if unknown := unknown_names(value, list(REASONING), "field"):
            raise ValidationError(unknown, code="unknown_field")
        for name, said in value.items():
            if said is not None and said not in REASONING[name]:
                raise ValidationError({name: [f"No model here can be asked for the {name} {said!r}."]}, code="unsupported")
        return value

    def validate_include(self, value: list[str]) -> list[str]:
        for name in value:
            if name not in INCLUDABLE:
                raise ValidationError(f"There is nothing to include by the name {name!r}.{nearest(name, list(INCLUDABLE))}")
        return value

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["background"] and not data["store"]:
            raise ValidationError({"background": ["Needs store: true: its answer is read later."]})
        if "conversation" in data and "previous_response_id" in data:
            raise ValidationError(
                {"conversation": ["Send this or previous_response_id: each says what the input goes on with."]}
            )
        return data


OWN = tuple(ResponseFields._declared_fields)
BESIDE = tuple(name for name in ChatSerializer._declared_fields if name not in (*NOT_OURS, *OWN))
"""What is as in a chat completion: model, temperature …, our own fields too."""


def split_body(data: object) -> tuple[JsonObject, JsonObject]:
    """The fields that are Responses' own, and those that are a chat completion's as well. Raises ValidationError."""
    if not isinstance(data, Mapping):
        raise ValidationError("The body must be a JSON object.")
    known = (*OWN, *BESIDE)
    left = drop_neutral_fields(data, known, NEUTRAL)
    assert isinstance(left, dict)
    if unknown := unknown_names(left, list(known), "field"):
        raise ValidationError(unknown, code="unknown_field")
    theirs = {name: value for name, value in left.items() if name in OWN}
    return theirs, {name: value for name, value in left.items() if name in BESIDE}


def chat_body(theirs: Mapping[str, Any], beside: Mapping[str, Any], read: ReadInput) -> JsonObject:
    """The chat completion that a request is. `theirs`: validated."""
    body: JsonObject = {**beside, "messages": read.messages}
    names = {"max_output_tokens": "max_tokens", **{name: name for name in ("tools", "tool_choice", "conversation")}}
    body |= {ours: theirs[name] for name, ours in names.items() if name in theirs}
    if beside.get("server_tools") and "max_tool_calls" in theirs:
        body["max_tool_calls"] = theirs["max_tool_calls"]
    if response_format := theirs.get("text", {}).get("format"):
        body["response_format"] = response_format
    if theirs.get("top_logprobs") or LOGPROBS in theirs.get("include", ()):
        body |= {"logprobs": True, "top_logprobs": theirs.get("top_logprobs", 0)}
    return body


def describe(theirs: Mapping[str, Any], beside: Mapping[str, Any], read: ReadInput) -> Iterator[str]:
    """What a person should know of what a request comes to."""
    if "max_tool_calls" in theirs and not beside.get("server_tools"):
        yield "max_tool_calls: Has no effect: it counts calls that this server runs, and server_tools asks for none."
    if read.reasoning:
        yield f"{INPUT}: {read.reasoning} items of reasoning were not told to the model."


# ---------------------------------------------------------------- tools


def nested_tool(tool: Any) -> Any:
    if not isinstance(tool, Mapping):
        raise ValidationError("Must be an object with the type function, a name and parameters.")
    if tool.get("type") != "function":
        detail = f"Tools are functions, which the client calls; this server has no tool of the type {tool.get('type')!r}."
        raise ValidationError({"type": [detail]}, code="unsupported")
    refuse_unknown({name: value for name, value in tool.items() if value is not False}, TOOL_FIELDS)
    idle = ("type", "output_schema", "defer_loading", "allowed_callers")
    return {"type": "function", "function": {name: value for name, value in tool.items() if name not in idle}}


def nested_choice(choice: Any) -> Any:
    if not isinstance(choice, Mapping):
        return choice
    if choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools":
        tools = choice.get("tools")
        allowed = [nested_choice(one) for one in tools] if isinstance(tools, list) else tools
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": allowed}}
    raise ValidationError(
        {"type": ["Must be function or allowed_tools: this server has no tools of its own."]}, code="unsupported"
    )


def flat_tool(tool: Mapping[str, Any]) -> JsonObject:
    """As a response shows it."""
    function = tool["function"]
    return {
        "type": "function",
        "name": function["name"],
        "description": function.get("description"),
        "parameters": function.get("parameters"),
        "strict": bool(function.get("strict")),
    }


def flat_choice(choice: Any) -> Any:
    if not isinstance(choice, Mapping):
        return choice or "auto"
    if choice["type"] == "function":
        return {"type": "function", "name": choice["function"]["name"]}
    allowed = choice["allowed_tools"]
    return {"type": "allowed_tools", "mode": allowed["mode"], "tools": [flat_choice(one) for one in allowed["tools"]]}


def flat_format(response_format: Mapping[str, Any] | None) -> JsonObject:
    if response_format is None:
        return {"type": "text"}
    return {"type": response_format["type"], **(response_format.get("json_schema") or {})}
