"""`/controlnet/…`: what clients ask of A1111's extension ControlNet, whose units `alwayson_scripts` reads (scripts.py)."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.access.scopes import Principal
from api.catalog import CONTROLNET, IP_ADAPTER, ModelEntry
from api.dialects.a1111.errors import RequestRefused, refusal, renamed
from api.dialects.a1111.extras import MOST_PICTURES
from api.dialects.a1111.fields import LenientFields, PictureField, any_value, number, text, whole
from api.dialects.a1111.scripts import ADAPTER, NO_MODULE, read_module
from api.dialects.a1111.several import SeveralJobsView
from api.files.models import StoredFile
from api.files.services import read_file
from api.images.control.serializers import PreprocessSerializer
from api.images.control.use import MOST_CONTROLS
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.library.models import AUTOV2_DIGITS
from api.system.selectors import is_available
from config.catalog import get_catalog

VERSION = 3
"""Of the extension's API."""
NONE = "none"
MAPS = ("canny", "softedge_hed", "softedge_pidinet", "scribble_hed", "scribble_pidinet", "lineart_realistic", "lineart_anime", "mlsd",
        "tile_resample", "recolor_luminance", "t2ia_color_grid", "invert")  # fmt: skip
"""The extension's names of what makes maps here. Several are made by one of ours."""
IMAGE_PROMPTS = (f"{ADAPTER}-auto", f"{ADAPTER}_clip_sd15", f"{ADAPTER}_clip_sdxl")
SENT, ALSO_SENT = "controlnet_input_images", "controlnet_images"
"""The extension's name of the pictures, and webuiapi's."""
USUAL_THRESHOLD = 64
WITHOUT_EFFECT = {
    "controlnet_threshold_a": "maps have fixed thresholds",
    "controlnet_threshold_b": "maps have fixed thresholds",
}


def version(principal: Principal) -> JsonObject:
    return {"version": VERSION}


def model_list(principal: Principal) -> JsonObject:
    """Those that can be used without a download."""
    entries = [entry for task in (CONTROLNET, IP_ADAPTER) for entry in get_catalog().of_task(task) if is_available(entry)]
    return {"model_list": [title_of(entry) for entry in entries]}


def title_of(entry: ModelEntry) -> str:
    return f"{entry.id} [{entry.sha256[:AUTOV2_DIGITS]}]" if entry.sha256 else entry.id


def module_list(principal: Principal) -> JsonObject:
    names = [NONE, *MAPS, *IMAGE_PROMPTS]
    return {"module_list": names, "module_detail": {name: {"model_free": False, "sliders": []} for name in names}}


def control_types(principal: Principal) -> JsonObject:
    """One for all: which model fits which map is chosen by its name, or by Darkroom."""
    every = {**model_list(principal), "module_list": module_list(principal)["module_list"]}
    return {"control_types": {"All": {**every, "default_option": NONE, "default_model": "None"}}}


def unit_count(principal: Principal) -> JsonObject:
    return {"control_net_unit_count": MOST_CONTROLS}


class DetectFields(LenientFields):
    controlnet_module = text(NONE)
    controlnet_input_images = serializers.ListField(child=PictureField(), default=list, max_length=MOST_PICTURES)
    controlnet_images = serializers.ListField(child=PictureField(), default=list, max_length=MOST_PICTURES)
    controlnet_processor_res = whole()
    controlnet_threshold_a = number()
    controlnet_threshold_b = number()
    webhook = any_value()


class DetectView(SeveralJobsView):
    """`POST /controlnet/detect`: the maps of pictures, each by a job; with the module "none" the pictures as they are."""

    thing = "map"
    mode = "RGB"

    def post(self, request: Request, **kwargs: object) -> HttpResponseBase:
        try:
            self.body = self.validated(DetectFields, request.data).validated_data
        except ValidationError as error:
            raise RequestRefused(error.detail) from None
        if not self.pictures():
            raise refusal(SENT, "No image selected", "required")
        if self.body["controlnet_module"].strip().lower() in NO_MODULE:
            if self.body["webhook"] is not None:
                raise refusal("webhook", "There is no job to tell of without a controlnet_module.", "unsupported")
            return JsonResponse(describe(self.body, [encoded(self.stored(field, sent)) for field, sent in self.pictures()]))
        return self.submit_all(request)

    def pictures(self) -> Sequence[tuple[str, str]]:
        field = SENT if self.body[SENT] else ALSO_SENT
        return [(f"{field}.{place}", sent) for place, sent in enumerate(self.body[field])]

    def submission_of(self, field: str, sent: str) -> Submission:
        kind = read_module(self.body["controlnet_module"], "", field="controlnet_module")
        asked = {"image": str(self.stored(field, sent).pk), "kind": kind, "webhook": self.body["webhook"]}
        try:
            return self.validated(PreprocessSerializer, asked).resolve()  # type: ignore[no-any-return]
        except ValidationError as error:
            raise RequestRefused(renamed(error.detail, {"image": field, "kind": "controlnet_module"})) from None

    def render_all(self, jobs: Sequence[Job]) -> HttpResponse:
        pictures = [self.result(job, "base64")["images"][0]["image_base64"] for job in jobs]
        return JsonResponse(describe(self.body, pictures))


def encoded(file: StoredFile) -> str:
    return base64.b64encode(read_file(file)).decode()


def describe(body: Mapping[str, Any], pictures: Sequence[str]) -> JsonObject:
    idle = [
        f"{name} has no effect: {why}." for name, why in WITHOUT_EFFECT.items() if body[name] not in (None, USUAL_THRESHOLD)
    ]
    return {"images": list(pictures), "info": " ".join(["Success", *idle])}
