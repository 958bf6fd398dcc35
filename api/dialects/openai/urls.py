from django.urls import path

from api.dialects.openai.completions import CompletionsView
from api.dialects.openai.embeddings import EmbeddingsView
from api.dialects.openai.images.views import EditsView, GenerationsView, VariationsView
from api.dialects.openai.models import ModelsView, ModelView
from api.dialects.openai.responses.views import (
    CancelView,
    InputItemsView,
    InputTokensView,
    ResponsesView,
    ResponseView,
)
from api.dialects.openai.views import ChatCompletionsView

urlpatterns = [
    path("v1/chat/completions", ChatCompletionsView.as_view(), name="openai-chat"),
    path("v1/completions", CompletionsView.as_view(), name="openai-completions"),
    path("v1/embeddings", EmbeddingsView.as_view(), name="openai-embeddings"),
    path("v1/responses", ResponsesView.as_view(), name="openai-responses"),
    path("v1/responses/input_tokens", InputTokensView.as_view(), name="openai-response-input-tokens"),
    path("v1/responses/<str:response_id>", ResponseView.as_view(), name="openai-response"),
    path("v1/responses/<str:response_id>/cancel", CancelView.as_view(), name="openai-response-cancel"),
    path("v1/responses/<str:response_id>/input_items", InputItemsView.as_view(), name="openai-response-input-items"),
    path("v1/images/generations", GenerationsView.as_view(), name="openai-image-generations"),
    path("v1/images/edits", EditsView.as_view(), name="openai-image-edits"),
    path("v1/images/variations", VariationsView.as_view(), name="openai-image-variations"),
    path("v1/models", ModelsView.as_view(), name="openai-models"),
    path("v1/models/<path:model_id>", ModelView.as_view(), name="openai-model"),
    # The older chat server's paths
    path("chat-server/v1/chat/completions", ChatCompletionsView.as_view(), name="chat-server"),
    path("chat-server/v1/chat/completions/torch", ChatCompletionsView.as_view(backend="pytorch"), name="chat-server-torch"),
]
