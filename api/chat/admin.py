"""Admin pages of conversations: messages with images, token counts and times."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from api.chat.models import Conversation, Message
from api.chat.services import containing_words
from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.tools import MadeFilter, UsedModelFilter, date_text, newest, seconds_text


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ["conversation_title", "model_id", "length", "owner_key", "started"]
    list_filter = [UsedModelFilter, MadeFilter]
    search_fields = ["title"]
    search_help_text = "Words of any message, in the newest 20,000 conversations that the filters leave."
    change_form_template = "admin/chat/conversation/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).annotate(message_count=Count("messages"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        return (containing_words(newest(queryset), search_term), False) if search_term.strip() else (queryset, False)

    def render_change_form(
        self, request: HttpRequest, context: Any, add: bool = False, change: bool = False, form_url: str = "", obj: Any = None
    ) -> Any:
        return super().render_change_form(request, {**context, **conversation_context(obj)}, add, change, form_url, obj)

    @admin.display(description="conversation")
    def conversation_title(self, conversation: Conversation) -> SafeString:
        return format_html('<span class="list-prompt">{}</span>', str(conversation))

    @admin.display(description="messages")
    def length(self, conversation: Any) -> int:
        return int(conversation.message_count)

    @admin.display(description="started")
    def started(self, conversation: Conversation) -> str:
        return date_text(conversation.created_at)


def conversation_context(conversation: Conversation) -> dict[str, object]:
    messages = conversation.messages.select_related("job").all()
    return {
        "title": str(conversation),
        "subtitle": None,
        "said": [{"message": message, "parts": message.parts, "facts": facts_of(message)} for message in messages],
    }


def facts_of(message: Message) -> list[str]:
    """What an answer took, in words; nothing of a question."""
    if message.role != Message.Role.ASSISTANT or not message.backend:
        return []
    return [
        f"{message.model_id} on {message.backend}",
        f"{message.prompt_tokens} + {message.completion_tokens} tokens",
        f"first after {seconds_text(message.first_token_seconds)}, all in {seconds_text(message.seconds)}",
        f"ended: {message.finish_reason}",
    ]
