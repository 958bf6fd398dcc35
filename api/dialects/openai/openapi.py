"""OpenAI's objects for the OpenAPI document. What is sent is made in replies.py; nothing is validated by these."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers

from api.chat.serializers import ChatSerializer
from api.jobs.api.serializers import JobSerializer

ERROR = (
    "OpenAIError",
    "application/json",
    {
        "type": "object",
        "description": "OpenAI's envelope. `code` is for programs, `message` for people, `param` names the field that is at fault.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {
                        "type": "string",
                        "enum": [
                            "invalid_request_error",
                            "authentication_error",
                            "permission_error",
                            "rate_limit_error",
                            "server_error",
                        ],
                    },
                    "param": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                },
            }
        },
    },
)
"""Its name in the document, its media type and its schema."""
REFUSALS = (404, 408, 409, 410, 422, 429, 500, 502, 503, 504, 507)
STREAM = {
    "type": "string",
    "description": "With `stream: true`: Server-Sent Events. Each `data:` line has a chunk, the last one is `data: [DONE]`, or an error in "
    "OpenAI's envelope. A comment line every 15 s of silence says that the server is still there.",
}


class ChatLogprobSerializer(serializers.Serializer[object]):
    token = serializers.CharField()
    logprob = serializers.FloatField()
    bytes = serializers.ListField(child=serializers.IntegerField(), allow_null=True)


class ChatTokenLogprobSerializer(ChatLogprobSerializer):
    top_logprobs = ChatLogprobSerializer(many=True)


class ChatLogprobsSerializer(serializers.Serializer[object]):
    content = ChatTokenLogprobSerializer(many=True)
    refusal = serializers.CharField(allow_null=True)


class CalledFunctionSerializer(serializers.Serializer[object]):
    name = serializers.CharField()
    arguments = serializers.CharField(help_text="JSON")


class ToolCallSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    type = serializers.ChoiceField(choices=["function"])
    function = CalledFunctionSerializer()


class MadePictureSerializer(serializers.Serializer[object]):
    id = serializers.UUIDField()
    url = serializers.CharField()


class ServerToolCallSerializer(serializers.Serializer[object]):
    """A call of a tool that this server ran. In a stream its fields come in two deltas: as it begins, and as it ends."""

    index = serializers.IntegerField(help_text="Among the server's calls of the answer.")
    id = serializers.CharField()
    name = serializers.CharField()
    arguments = serializers.CharField(help_text="JSON, as the model wrote it.")
    job = serializers.UUIDField(allow_null=True, help_text="Its record here; null where the arguments were wrong.")
    status = serializers.ChoiceField(choices=["succeeded", "failed"])
    output = serializers.DictField(help_text="What the model was told; `error` where it failed.")
    images = MadePictureSerializer(many=True)


class ChatAnswerSerializer(serializers.Serializer[object]):
    role = serializers.ChoiceField(choices=["assistant"])
    content = serializers.CharField(
        allow_null=True, help_text="All that the model wrote, also before calls of the server's tools."
    )
    refusal = serializers.CharField(allow_null=True)
    tool_calls = ToolCallSerializer(many=True, required=False)
    server_tool_calls = ServerToolCallSerializer(many=True, required=False)


class ChatChoiceSerializer(serializers.Serializer[object]):
    index = serializers.IntegerField()
    message = ChatAnswerSerializer()
    logprobs = ChatLogprobsSerializer(allow_null=True)
    finish_reason = serializers.CharField(help_text="stop, length, tool_calls, or what a remote server says")


class PromptDetailsSerializer(serializers.Serializer[object]):
    cached_tokens = serializers.IntegerField(help_text="Those that an earlier chat began with, and that were not read again.")


class ChatUsageSerializer(serializers.Serializer[object]):
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    prompt_tokens_details = PromptDetailsSerializer()


class HeadSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    created = serializers.IntegerField(help_text="Unix seconds")
    model = serializers.CharField()
    system_fingerprint = serializers.CharField(allow_null=True)
    service_tier = serializers.CharField(allow_null=True)
    backend = serializers.CharField(help_text="pytorch, onnx or remote: what ran")
    conversation = serializers.UUIDField(allow_null=True, help_text="Name it in the next request to send only what is new.")
    job = serializers.UUIDField(help_text="The chat's record here: GET /api/jobs/{id}/.")


class ChatCompletionSerializer(HeadSerializer):
    object = serializers.ChoiceField(choices=["chat.completion"])
    choices = ChatChoiceSerializer(many=True)  # type: ignore[assignment]
    usage = ChatUsageSerializer()
    warnings = serializers.ListField(child=serializers.CharField())


class OpenAIModelSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    object = serializers.ChoiceField(choices=["model"])
    created = serializers.IntegerField()
    owned_by = serializers.CharField()
    task = serializers.CharField(required=False)
    licence = serializers.CharField(required=False)


class OpenAIModelListSerializer(serializers.Serializer[object]):
    object = serializers.ChoiceField(choices=["list"])
    data = OpenAIModelSerializer(many=True)  # type: ignore[assignment]


DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
QUESTION = OpenApiExample(
    "A question about a picture",
    request_only=True,
    value={
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": DOT, "detail": "auto"}},
                    {"type": "text", "text": "What is in this image?"},
                ],
            }
        ],
        "max_tokens": 100,
    },
)
CHUNKS = OpenApiExample(
    "A stream",
    response_only=True,
    status_codes=["200"],
    media_type="text/event-stream",
    value="""data: {"id":"chatcmpl-0197","object":"chat.completion.chunk","created":1763712000,"model":"starter-vlm",\
"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-0197","object":"chat.completion.chunk","created":1763712000,"model":"starter-vlm",\
"choices":[{"index":0,"delta":{"content":"A red dot."},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-0197","object":"chat.completion.chunk","created":1763712000,"model":"starter-vlm",\
"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

data: [DONE]

""",
)
chats = extend_schema(
    description="OpenAI's chat completions. The request waits for its answer, however long that takes; a client that leaves cancels it, "
    "unless it named an Idempotency-Key or preferred to be answered at once (`Prefer: respond-async`): then a chat that is under way is "
    "answered with 202 and its job, one that has ended (an Idempotency-Key's) with its answer. A body without a Content-Type is read as "
    "JSON. Fields of OpenAI's that aren't listed are taken where they ask for nothing (null, [], {}, or the value by which they change "
    "nothing), and refused by name where they ask for something.",
    request=ChatSerializer,
    examples=[QUESTION, CHUNKS],
    responses={
        (200, "application/json"): ChatCompletionSerializer,
        (200, "text/event-stream"): STREAM,
        202: JobSerializer,
    },
)
lists_models = extend_schema(operation_id="v1_models_list", responses=OpenAIModelListSerializer)
shows_model = extend_schema(responses=OpenAIModelSerializer)
