from django.urls import path

from api.dialects.huggingface import views

TASK_VIEWS = (
    views.TextToImageView,
    views.ImageToImageView,
    views.ImageToTextView,
    views.VisualQuestionAnsweringView,
    views.ObjectDetectionView,
    views.ZeroShotImageClassificationView,
)

urlpatterns = [
    *(path(f"hf/{view.task.name}", view.as_view(), name=f"huggingface-{view.task.name}") for view in TASK_VIEWS),
    path("hf/models/<path:model_id>/health", views.HealthView.as_view(), name="huggingface-model-health"),
    path("hf/models/<path:model_id>/info", views.InfoView.as_view(), name="huggingface-model-info"),
    path("hf/models/<path:model_id>/v1/chat/completions", views.ModelChatView.as_view(), name="huggingface-chat"),
    path("hf/models/<path:model_id>", views.ModelView.as_view(), name="huggingface-model"),
    path("hf/<str:task>/health", views.HealthView.as_view(), name="huggingface-health"),
    path("hf/<str:task>/info", views.InfoView.as_view(), name="huggingface-info"),
    path("hf/<str:task>", views.UnknownTaskView.as_view(), name="huggingface-unknown"),
]
