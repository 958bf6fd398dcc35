"""Conversations over HTTP. Chat completions are in api/dialects/openai."""

from typing import Any, cast

import django_filters
from django.db.models import Count, Prefetch, Q, QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.access.principals import visible_to
from api.access.scopes import Principal
from api.chat.conversation_serializers import BranchSerializer, ConversationDetailSerializer, ConversationSerializer
from api.chat.models import Conversation, Message
from api.chat.services import activate_branch, branches_of, containing_words, delete_conversation, find_branch
from api.queries import GivenFilters
from api.strict import NewestFirst


class ConversationFilter(GivenFilters):
    q = django_filters.CharFilter(method="filter_words", max_length=200, label="words that were said, each in any message")
    model_id = django_filters.CharFilter(max_length=200)

    class Meta:
        model = Conversation
        fields: list[str] = []

    def filter_words(self, queryset: QuerySet[Conversation], name: str, value: str) -> QuerySet[Conversation]:
        return containing_words(queryset, value)


class ConversationViewSet(
    mixins.RetrieveModelMixin, mixins.DestroyModelMixin, mixins.ListModelMixin, viewsets.GenericViewSet[Conversation]
):
    """What was asked and answered, newest first."""

    queryset = Conversation.objects.all()
    serializer_class = ConversationSerializer
    pagination_class = NewestFirst
    filter_backends = [DjangoFilterBackend]
    filterset_class = ConversationFilter
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Conversation]:
        rows = visible_to(cast(Principal, self.request.auth), super().get_queryset())
        if self.action in ("retrieve", "branch"):
            return rows.prefetch_related(
                Prefetch("messages", Message.objects.filter(active=True).order_by("position", "choice"))
            )
        return rows.annotate(message_count=Count("messages", filter=Q(messages__active=True)))

    @extend_schema(responses=ConversationDetailSerializer)
    def retrieve(self, request: Request, *args: object, **kwargs: object) -> Response:
        """With all its messages, of the branch that goes on. `conversation: id` in a chat request goes on with it; with `replace_from`, a
        position, the request begins another branch there.
        """
        return Response(self.detail_of(self.get_object()))

    @extend_schema(request=BranchSerializer, responses={200: ConversationDetailSerializer})
    @action(detail=True, methods=["post"])
    def branch(self, request: Request, **kwargs: object) -> Response:
        """Goes on with another branch, down to its newest end: that is then what `GET` shows and what the next request continues.

        409 where the branch begins beside a message that is not on the way that goes on: switch there first.
        """
        asked = BranchSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        message = find_branch(self.get_object(), asked.validated_data["job"])
        if message is None:
            raise ValidationError({"job": ["No branch of this conversation begins with this job."]})
        activate_branch(message)
        return Response(self.detail_of(self.get_object()))

    def detail_of(self, conversation: Conversation) -> dict[str, Any]:
        context = {"request": self.request, "branches": branches_of(conversation)}
        return ConversationDetailSerializer(conversation, context=context).data

    def perform_destroy(self, conversation: Conversation) -> None:
        """With its jobs."""
        delete_conversation(conversation=conversation)
