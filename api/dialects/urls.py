from django.urls import path

from api.dialects.layout import LayoutHealthView, LayoutScoreView

urlpatterns = [
    path("score", LayoutScoreView.as_view(), name="dialect-layout-score"),
    path("health", LayoutHealthView.as_view(), name="dialect-layout-health"),
]
