from django.urls import path

from api.system import views
from api.system.drains import DrainsView, DrainView

urlpatterns = [
    path("api/health/", views.HealthView.as_view(), name="health"),
    path("api/ready/", views.ReadyView.as_view(), name="ready"),
    path("api/status/", views.StatusView.as_view(), name="status"),
    path("api/models/", views.ModelsView.as_view(), name="models"),
    path("api/models/<path:model_id>/load/", views.LoadModelView.as_view(), name="model-load"),
    path("api/models/<path:model_id>/unload/", views.UnloadModelView.as_view(), name="model-unload"),
    path("api/drains/", DrainsView.as_view(), name="drains"),
    path("api/drains/<int:drain_id>/", DrainView.as_view(), name="drain"),
    path("api/schema/", views.SchemaView.as_view(), name="schema"),
    path("api/docs/", views.DocsView.as_view(), name="docs"),
    path("metrics", views.MetricsView.as_view(), name="metrics"),
]
