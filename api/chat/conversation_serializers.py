"""Serializers of conversations and their messages."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.chat.models import Conversation, Message
from api.strict import StrictSerializer


class MessagePartSerializer(serializers.Serializer[object]):
    type = serializers.ChoiceField(
        choices=["text", "image", "tool_call", "cut_call", "tool_result"], help_text="cut_call: a call that broke off."
    )
    text = serializers.CharField(required=False)
    image = serializers.UUIDField(required=False)
    detail = serializers.CharField(required=False)
    url = serializers.CharField(required=False)
    thumbnail_url = serializers.CharField(required=False)
    id = serializers.CharField(required=False, help_text="Of a call, or of the one that this is the result of.")
    name = serializers.CharField(required=False, help_text="Of the tool.")
    arguments = serializers.CharField(required=False, help_text="JSON, as the model wrote it.")
    job = serializers.CharField(
        required=False, help_text="The job that ran the call, of a tool of this server's; '' where it was refused."
    )
    error = serializers.CharField(required=False, help_text="Why it was refused.")


class MessageSerializer(serializers.ModelSerializer[Message]):
    job = serializers.UUIDField(source="job_id", read_only=True)
    parts = serializers.SerializerMethodField()
    branches = serializers.SerializerMethodField(
        help_text="The jobs of all branches that begin here, the oldest first; empty for one."
    )

    class Meta:
        model = Message
        fields = (
            "position", "choice", "role", "parts", "job", "branches", "model_id", "backend", "finish_reason", "prompt_tokens",
            "completion_tokens", "first_token_seconds", "seconds", "created_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(MessagePartSerializer(many=True))
    def get_parts(self, message: Message) -> list[dict[str, Any]]:
        return [self.with_urls(part) if part["type"] == "image" else part for part in message.parts]

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_branches(self, message: Message) -> list[str]:
        here = self.context["branches"][message.parent_id, message.position] if message.choice == 0 else ()
        return [str(job) for _, job in here] if len(here) > 1 else []

    def with_urls(self, part: dict[str, Any]) -> dict[str, object]:
        path = self.context["request"].build_absolute_uri(f"/api/images/{part['image']}/")
        return {**part, "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/"}


class BranchSerializer(StrictSerializer):
    job = serializers.UUIDField(help_text="Of the branch to go on with: one of a message's `branches`.")


COLUMNS = ("id", "title", "model_id", "message_count", "metadata", "created_at", "updated_at")


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    message_count = serializers.IntegerField(read_only=True)
    metadata = serializers.DictField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Conversation
        fields = COLUMNS
        read_only_fields = fields


class ConversationDetailSerializer(serializers.ModelSerializer[Conversation]):
    message_count = serializers.SerializerMethodField()
    metadata = serializers.DictField(child=serializers.CharField(), read_only=True)
    messages = MessageSerializer(many=True, read_only=True)

    class Meta:
        model = Conversation
        fields = (*COLUMNS, "messages")
        read_only_fields = fields

    def get_message_count(self, conversation: Conversation) -> int:
        return len(conversation.messages.all())
