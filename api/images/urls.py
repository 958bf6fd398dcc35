from django.urls import path
from rest_framework.routers import SimpleRouter

from api.images.control.views import PreprocessView
from api.images.prompt_views import PngInfoView, PromptView
from api.images.views import ImageFileView, ImageViewSet, Img2ImgView, Txt2ImgView

router = SimpleRouter(use_regex_path=False)
router.register("images", ImageViewSet, basename="image")
urlpatterns = [
    path("txt2img/", Txt2ImgView.as_view(), name="txt2img"),
    path("img2img/", Img2ImgView.as_view(), name="img2img"),
    path("preprocess/", PreprocessView.as_view(), name="preprocess"),
    path("prompt/", PromptView.as_view(), name="prompt"),
    path("png-info/", PngInfoView.as_view(), name="png-info"),
    path("images/<uuid:id>/file/", ImageFileView.as_view(), name="image-file"),
    path("images/<uuid:id>/thumbnail/", ImageFileView.as_view(thumbnail=True), name="image-thumbnail"),
    *router.urls,
]
