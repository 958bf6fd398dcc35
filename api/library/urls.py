from django.urls import path

from api.library import views

urlpatterns = [path("models/<path:model_id>/preview/", views.PreviewView.as_view(), name="model-preview")]
