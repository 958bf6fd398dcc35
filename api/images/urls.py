from django.urls import path
from rest_framework.routers import SimpleRouter

from api.images.control.views import PreprocessView
from api.images.grids.views import GridEstimateView, GridView
from api.images.presets.views import PresetViewSet
from api.images.prompt_views import PngInfoView, PromptView
from api.images.upscaling.views import UpscaleView
from api.images.views import ImageFileView, ImageViewSet, Img2ImgView, Txt2ImgView

router = SimpleRouter(use_regex_path=False)
router.register("images", ImageViewSet, basename="image")
router.register("presets", PresetViewSet, basename="preset")
urlpatterns = [
    path("txt2img/", Txt2ImgView.as_view(), name="txt2img"),
    path("img2img/", Img2ImgView.as_view(), name="img2img"),
    path("upscale/", UpscaleView.as_view(), name="upscale"),
    path("grids/", GridView.as_view(), name="grids"),
    path("grids/estimate/", GridEstimateView.as_view(), name="grid-estimate"),
    path("preprocess/", PreprocessView.as_view(), name="preprocess"),
    path("prompt/", PromptView.as_view(), name="prompt"),
    path("png-info/", PngInfoView.as_view(), name="png-info"),
    path("images/<uuid:id>/file/", ImageFileView.as_view(), name="image-file"),
    path("images/<uuid:id>/thumbnail/", ImageFileView.as_view(thumbnail=True), name="image-thumbnail"),
    *router.urls,
]
