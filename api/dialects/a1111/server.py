"""What AUTOMATIC1111's clients ask of the server itself: its memory, its flags; and to look for new files, load and unload a model."""

from typing import Any

import psutil
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.access.scopes import STAFF, SUBMIT, Principal
from api.dialects.a1111 import options
from api.dialects.a1111.base import ANY_PARSERS, A1111Dialect, A1111View, read_object
from api.dialects.a1111.checkpoints import find_checkpoint
from api.dialects.a1111.errors import RequestRefused
from api.dialects.a1111.option_table import CHECKPOINT
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.library.scan import scan_library
from api.system.selectors import live_workers
from api.system.serializers import ModelCommandSerializer
from api.system.spec import LoadModelSpec, ModelSpec, UnloadModelSpec


class OptionsView(A1111View):
    def get(self, request: Request) -> Response:
        return Response(options.get(self.principal))

    def post(self, request: Request) -> HttpResponse:
        try:
            options.save(self.principal, read_object(request))
        except ValidationError as error:
            raise RequestRefused(error.detail) from None
        return JsonResponse(None, safe=False)  # DRF's own renderer makes an empty body of null


class RefreshView(A1111View):
    """Looks for new files at once, where this process sees the folders; a worker does it every LIBRARY_SCAN_SECONDS in any case."""

    required_scope = SUBMIT
    parser_classes = ANY_PARSERS

    def post(self, request: Request) -> HttpResponse:
        if settings.LIBRARY_DIRS and all(folder.is_dir() for folder in settings.LIBRARY_DIRS):
            scan_library()
        return JsonResponse(None, safe=False)  # DRF's own renderer makes an empty body of null


# ---------------------------------------------------------------- memory and flags


def memory(principal: Principal) -> JsonObject:
    """Bytes: of this machine, and of the device that the newest worker works on."""
    main = psutil.virtual_memory()
    return {"ram": {"free": main.available, "used": main.total - main.available, "total": main.total}, "cuda": cuda_memory()}


def cuda_memory() -> JsonObject:
    devices: list[dict[str, int]] = next(
        (worker.device["devices"] for worker in live_workers() if worker.device.get("devices")), []
    )
    if not devices:
        return {"error": "unavailable"}
    free, total = (sum(device[name] for device in devices) for name in ("memory_free", "memory_total"))
    return {"system": {"free": free, "used": total - free, "total": total}}


def ping(principal: Principal) -> JsonObject:
    """Who starts it asks for this until it answers."""
    return {}


def cmd_flags(principal: Principal) -> JsonObject:
    """As if it had been started with `--api --nowebui`."""
    off = ("share", "ngrok", "lowvram", "medvram", "no_half", "no_half_vae", "xformers", "skip_install", "freeze_settings",
           "enable_insecure_extension_access", "disable_console_progressbars", "api_log", "api_server_stop")  # fmt: skip
    return {
        "api": True,
        "nowebui": True,
        "api_auth": None,
        "ckpt_dir": None,
        "port": None,
        "server_name": None,
        "subpath": None,
        "theme": None,
        "device_id": None,
        "precision": "autocast",
        **dict.fromkeys(off, False),
    }


# ---------------------------------------------------------------- loading


class ModelCommandView(A1111Dialect):
    """Of the model that this key has chosen. It changes the server for everybody, as `POST /api/models/{id}/load/` does."""

    required_scope = STAFF
    parser_classes = ANY_PARSERS
    thing = "model"
    spec: type[ModelSpec]

    def parse(self, request: Request) -> Submission:
        try:
            model_id = find_checkpoint(options.get(self.principal)[CHECKPOINT]).id
        except ValidationError as error:
            raise RequestRefused({CHECKPOINT: error.detail}) from None
        serializer: Any = self.validated(ModelCommandSerializer, {}, spec=self.spec, model_id=model_id)
        return serializer.resolve()  # type: ignore[no-any-return]

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse({})


class ReloadView(ModelCommandView):
    spec = LoadModelSpec


class UnloadView(ModelCommandView):
    spec = UnloadModelSpec
