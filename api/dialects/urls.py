from django.urls import include, path

from api.dialects.generate import GenerateView
from api.dialects.layout import LayoutHealthView, LayoutScoreView
from api.dialects.localai import DetectionView
from api.dialects.mcp.views import mcp_endpoint

urlpatterns = [
    path("", include("api.dialects.a1111.urls")),
    path("", include("api.dialects.openai.urls")),
    path("", include("api.dialects.huggingface.urls")),
    path("mcp", mcp_endpoint, name="mcp"),
    path("v1/detection", DetectionView.as_view(), name="localai-detection"),
    path("generate", GenerateView.as_view(), name="dialect-generate"),
    path("score", LayoutScoreView.as_view(), name="dialect-layout-score"),
    path("health", LayoutHealthView.as_view(), name="dialect-layout-health"),
]
