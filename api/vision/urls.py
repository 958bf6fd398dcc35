from django.urls import path

from api.vision.cutout.views import CutoutView
from api.vision.hazard_views import HazardsView
from api.vision.views import DetectView, OcrLanguagesView, OcrView

urlpatterns = [
    path("cutout/", CutoutView.as_view(), name="cutout"),
    path("detect/", DetectView.as_view(), name="detect"),
    path("hazards/", HazardsView.as_view(), name="hazards"),
    path("ocr/", OcrView.as_view(), name="ocr"),
    path("ocr/languages/", OcrLanguagesView.as_view(), name="ocr-languages"),
]
