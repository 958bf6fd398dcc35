from django.urls import path

from api.vision.views import DetectView

urlpatterns = [
    path("detect/", DetectView.as_view(), name="detect"),
]
