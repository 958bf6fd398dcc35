"""OpenAI's Responses for the OpenAPI document. Bodies are read by fields.py and items.py, answers made in replies.py."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers

from api.chat.serializers import ChatSerializer
from api.dialects.openai.openapi import DOT, ServerToolCallSerializer
from api.dialects.openai.responses.fields import BESIDE, COUNTED, InputField, ResponseFields, TextSerializer
from api.dialects.openai.responses.queries import LARGEST_LIMIT, ORDERS, USUAL_LIMIT
from api.jobs.api.serializers import JobSerializer
from api.json_types import JsonObject
from api.strict import StrictSerializer

ITEM: JsonObject = {
    "type": "object",
    "description": "`{role, content}`, with a text or parts (`input_text`, `output_text`, `input_image` with `image_url` and `detail`); "
    "`function_call` and `function_call_output` with `call_id`; `item_reference` with the id of an item of an earlier response; "
    "`reasoning` is taken, and not told to the model.",
}
INPUT: JsonObject = {"oneOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": ITEM}]}
TOOL: JsonObject = {
    "type": "object",
    "required": ["type", "name"],
    "properties": {
        "type": {"const": "function"},
        "name": {"type": "string"},
        "description": {"type": ["string", "null"]},
        "parameters": {"type": ["object", "null"]},
        "strict": {"type": ["boolean", "null"]},
    },
}
CHOICE: JsonObject = {
    "oneOf": [{"type": "string", "enum": ["none", "auto", "required"]}, {"type": "object"}, {"type": "null"}],
    "description": '`{"type": "function", "name"}` is a call that must be made; `{"type": "allowed_tools", "mode", "tools"}` a choice.',
}
FORMAT: JsonObject = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string", "enum": ["text", "json_object", "json_schema"]}, "schema": {"type": "object"}},
}
STREAM = {
    "type": "string",
    "description": "With `stream: true`: Server-Sent Events in OpenAI's order, each with its `sequence_number`; the last is "
    "`response.completed`, `response.incomplete`, `response.failed` or `error`. A comment line every 15 s of silence says that the "
    "server is still there.",
}


def documented(schema: JsonObject, **options: Any) -> Any:
    return extend_schema_field(schema)(type("DocumentedField", (InputField,), {}))(**options)


DocumentedText = type("OpenAIResponseText", (TextSerializer,), {"format": documented(FORMAT, required=False)})
OWN: dict[str, Any] = {
    **ResponseFields._declared_fields,
    "input": documented(INPUT),
    "tools": documented({"type": "array", "items": TOOL}, required=False),
    "tool_choice": documented(CHOICE, required=False),
    "text": DocumentedText(required=False),
    "conversation": documented({"oneOf": [{"type": "string", "format": "uuid"}, {"type": "object"}]}, required=False),
}
ResponseRequest = type(
    "OpenAIResponseCreate", (StrictSerializer,), {**OWN, **{name: ChatSerializer._declared_fields[name] for name in BESIDE}}
)


CountRequest = type(
    "OpenAIInputTokens",
    (StrictSerializer,),
    {name: field for name, field in ResponseRequest._declared_fields.items() if name in COUNTED},  # type: ignore[attr-defined]
)


class InputTokensSerializer(serializers.Serializer[object]):
    object = serializers.CharField(help_text="response.input_tokens")
    input_tokens = serializers.IntegerField()


class OpenAIResponseSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    object = serializers.CharField(help_text="response")
    created_at = serializers.IntegerField(help_text="Unix seconds")
    completed_at = serializers.IntegerField(allow_null=True)
    status = serializers.CharField(help_text="queued, in_progress, completed, incomplete, failed or cancelled")
    background = serializers.BooleanField()
    error = serializers.DictField(allow_null=True, help_text="code, message")
    incomplete_details = serializers.DictField(allow_null=True, help_text="reason: max_output_tokens or content_filter")
    instructions = serializers.CharField(allow_null=True)
    max_output_tokens = serializers.IntegerField(allow_null=True)
    max_tool_calls = serializers.IntegerField(allow_null=True)
    metadata = serializers.DictField(child=serializers.CharField())
    model = serializers.CharField()
    output = serializers.ListField(child=serializers.DictField(), help_text="A message, calls of functions")
    parallel_tool_calls = serializers.BooleanField()
    previous_response_id = serializers.CharField(allow_null=True)
    prompt_cache_key = serializers.CharField(allow_null=True)
    reasoning = serializers.DictField()
    safety_identifier = serializers.CharField(allow_null=True)
    service_tier = serializers.CharField()
    store = serializers.BooleanField()
    temperature = serializers.FloatField(allow_null=True, help_text="null: the model's own")
    text = serializers.DictField()
    tool_choice = documented(CHOICE)
    tools = serializers.ListField(child=serializers.DictField())
    top_logprobs = serializers.IntegerField(allow_null=True)
    top_p = serializers.FloatField(allow_null=True)
    truncation = serializers.CharField()
    usage = serializers.DictField(allow_null=True)
    user = serializers.CharField(allow_null=True)
    conversation = serializers.DictField(allow_null=True, help_text="id: GET /api/conversations/{id}/")
    backend = serializers.CharField(help_text="pytorch, onnx or remote: what ran")
    job = serializers.UUIDField(help_text="The record here: GET /api/jobs/{id}/.")
    warnings = serializers.ListField(child=serializers.CharField())
    server_tool_calls = ServerToolCallSerializer(many=True, required=False)


class DeletedResponseSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    object = serializers.CharField(help_text="response")
    deleted = serializers.BooleanField()


class InputItemsSerializer(serializers.Serializer[object]):
    object = serializers.CharField(help_text="list")
    data = serializers.ListField(child=serializers.DictField())  # type: ignore[assignment]
    first_id = serializers.CharField(allow_null=True)
    last_id = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


QUESTION = OpenApiExample(
    "A question about a picture",
    request_only=True,
    value={
        "instructions": "Answer in one sentence.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": DOT, "detail": "auto"},
                    {"type": "input_text", "text": "What is in this image?"},
                ],
            }
        ],
        "max_output_tokens": 100,
    },
)
EVENTS = OpenApiExample(
    "A stream",
    response_only=True,
    status_codes=["200"],
    media_type="text/event-stream",
    value="""event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_0197o0","output_index":0,"content_index":0,\
"delta":"A red dot.","logprobs":[]}

""",
)
COUNT = OpenApiExample(
    "A question", request_only=True, value={"input": "What is a darkroom?", "instructions": "Answer in one sentence."}
)
ANSWERS: dict[Any, Any] = {(200, "application/json"): OpenAIResponseSerializer, (200, "text/event-stream"): STREAM}
creates = extend_schema(
    operation_id="v1_responses_create",
    description="OpenAI's Responses. The request waits for its answer, however long that takes; a client that leaves cancels it, unless "
    "`background` is true, or it named an Idempotency-Key or preferred to be answered at once (`Prefer: respond-async`, answered with 202 "
    "and the job). Beside OpenAI's fields all of a chat completion may stand. Fields that aren't listed are taken where they ask for "
    "nothing, and refused by name where they ask for something.",
    request=ResponseRequest,
    examples=[QUESTION, EVENTS],
    responses={**ANSWERS, 202: JobSerializer},
)
counts = extend_schema(
    operation_id="v1_responses_input_tokens",
    description="How many tokens a response's input would be, by the model's own tokenizer and chat template, pictures and tools counted. "
    "The model reads it for that, as a job; nothing is kept in a conversation.",
    request=CountRequest,
    examples=[COUNT],
    responses={200: InputTokensSerializer, 202: JobSerializer},
)
shows = extend_schema(
    operation_id="v1_responses_retrieve",
    description="`stream=true` tells its events (again), those behind `starting_after` alone, and goes on with those to come.",
    parameters=[
        OpenApiParameter("stream", bool, description="Its events."),
        OpenApiParameter("starting_after", int, description="The sequence_number of the last event that the client has."),
    ],
    responses=ANSWERS,
)
deletes = extend_schema(
    operation_id="v1_responses_destroy",
    description="With its job and what was said in it. Where other responses go on from it, what was said stays in their conversation "
    "(DELETE /api/conversations/{id}/), and the response alone is gone.",
    responses={200: DeletedResponseSerializer},
)
cancels = extend_schema(
    operation_id="v1_responses_cancel",
    description="Queued: at once. Running: at the next token; its status is in_progress until then. Ended: no change.",
    request=None,
    responses={200: OpenAIResponseSerializer},
)
lists_items = extend_schema(
    operation_id="v1_responses_input_items",
    description="What the model was told but the instructions, the newest first.",
    parameters=[
        OpenApiParameter("limit", int, description=f"1 to {LARGEST_LIMIT}, by default {USUAL_LIMIT}"),
        OpenApiParameter("order", str, enum=ORDERS),
        OpenApiParameter("after", str, description="The id of the last item of the page before."),
    ],
    responses={200: InputItemsSerializer},
)
