from django.urls import path

from api.dialects.a1111 import controlnet, lists, server
from api.dialects.a1111.base import ListView
from api.dialects.a1111.extras import ExtraBatchView, ExtraSingleView
from api.dialects.a1111.generation import Img2ImgView, Txt2ImgView
from api.dialects.a1111.interrogate import InterrogateView
from api.dialects.a1111.png_info import PngInfoView
from api.dialects.a1111.progress import InternalProgressView, PendingTasksView, ProgressView, StopView

LISTS = {
    "samplers": lists.samplers,
    "schedulers": lists.schedulers,
    "upscalers": lists.upscalers,
    "latent-upscale-modes": lists.latent_upscale_modes,
    "sd-models": lists.sd_models,
    "sd-vae": lists.nothing,
    "sd-modules": lists.nothing,
    "loras": lists.loras,
    "embeddings": lists.embeddings,
    "hypernetworks": lists.nothing,
    "face-restorers": lists.nothing,
    "extensions": lists.nothing,
    "realesrgan-models": lists.realesrgan_models,
    "prompt-styles": lists.prompt_styles,
    "scripts": lists.scripts,
    "script-info": lists.script_info,
    "cmd-flags": server.cmd_flags,
    "memory": server.memory,
}
CONTROLNET = {
    "version": controlnet.version,
    "model_list": controlnet.model_list,
    "module_list": controlnet.module_list,
    "control_types": controlnet.control_types,
    "settings": controlnet.unit_count,
}
REFRESHED = ("checkpoints", "vae", "loras", "embeddings")

urlpatterns = [
    path("sdapi/v1/txt2img", Txt2ImgView.as_view(), name="a1111-txt2img"),
    path("sdapi/v1/img2img", Img2ImgView.as_view(), name="a1111-img2img"),
    path("sdapi/v1/progress", ProgressView.as_view(), name="a1111-progress"),
    path("sdapi/v1/interrupt", StopView.as_view(), name="a1111-interrupt"),
    path("sdapi/v1/skip", StopView.as_view(), name="a1111-skip"),
    path("sdapi/v1/extra-single-image", ExtraSingleView.as_view(), name="a1111-extra-single-image"),
    path("sdapi/v1/extra-batch-images", ExtraBatchView.as_view(), name="a1111-extra-batch-images"),
    path("sdapi/v1/interrogate", InterrogateView.as_view(), name="a1111-interrogate"),
    path("sdapi/v1/png-info", PngInfoView.as_view(), name="a1111-png-info"),
    path("sdapi/v1/options", server.OptionsView.as_view(), name="a1111-options"),
    *(path(f"sdapi/v1/{name}", ListView.as_view(read=read), name=f"a1111-{name}") for name, read in LISTS.items()),
    *(path(f"sdapi/v1/refresh-{name}", server.RefreshView.as_view(), name=f"a1111-refresh-{name}") for name in REFRESHED),
    path("sdapi/v1/unload-checkpoint", server.UnloadView.as_view(), name="a1111-unload-checkpoint"),
    path("sdapi/v1/reload-checkpoint", server.ReloadView.as_view(), name="a1111-reload-checkpoint"),
    *(path(f"controlnet/{name}", ListView.as_view(read=read), name=f"controlnet-{name}") for name, read in CONTROLNET.items()),
    path("controlnet/detect", controlnet.DetectView.as_view(), name="controlnet-detect"),
    path("internal/progress", InternalProgressView.as_view(), name="a1111-internal-progress"),
    path("internal/ping", ListView.as_view(read=server.ping), name="a1111-internal-ping"),
    path("internal/pending-tasks", PendingTasksView.as_view(), name="a1111-pending-tasks"),
]
