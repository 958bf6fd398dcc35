from django.urls import path

from api.vision.hazard_views import HazardsView
from api.vision.views import DetectView

urlpatterns = [
    path("detect/", DetectView.as_view(), name="detect"),
    path("hazards/", HazardsView.as_view(), name="hazards"),
]
