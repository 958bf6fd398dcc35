from django.urls import include, path

from api.dialects.layout import LayoutHealthView, LayoutScoreView

urlpatterns = [
    path("", include("api.dialects.openai.urls")),
    path("score", LayoutScoreView.as_view(), name="dialect-layout-score"),
    path("health", LayoutHealthView.as_view(), name="dialect-layout-health"),
]
