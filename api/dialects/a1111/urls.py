from django.urls import path

from api.dialects.a1111.generation import Img2ImgView, Txt2ImgView
from api.dialects.a1111.progress import InternalProgressView, InterruptView, PendingTasksView, ProgressView, SkipView

urlpatterns = [
    path("sdapi/v1/txt2img", Txt2ImgView.as_view(), name="a1111-txt2img"),
    path("sdapi/v1/img2img", Img2ImgView.as_view(), name="a1111-img2img"),
    path("sdapi/v1/progress", ProgressView.as_view(), name="a1111-progress"),
    path("sdapi/v1/interrupt", InterruptView.as_view(), name="a1111-interrupt"),
    path("sdapi/v1/skip", SkipView.as_view(), name="a1111-skip"),
    path("internal/progress", InternalProgressView.as_view(), name="a1111-internal-progress"),
    path("internal/pending-tasks", PendingTasksView.as_view(), name="a1111-pending-tasks"),
]
