"""Selects the backend of a chat at submission: a curated ONNX model first, then PyTorch, then remote.

ONNX runs on the processor. Where a worker has an accelerator, PyTorch comes first.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec

from django.conf import settings
from rest_framework.exceptions import ValidationError

from api.catalog import ONNX_FAMILIES, ONNX_PRECISIONS, ModelEntry, UnknownModel
from api.chat.spec import BACKENDS
from api.errors import DarkroomError
from api.jobs.models import Worker
from config.catalog import CHAT_TASKS, get_catalog

VISION_TASK, TEXT_TASK = TASKS = CHAT_TASKS
SUGGESTED_MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct"
PLACEHOLDER_MODEL = "dummy"
"""huggingface_hub's word where it was given no model, or a URL."""
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_target_positions")


@dataclass(frozen=True)
class BackendSelection:
    backend: str
    model: str
    """The catalog's id; for a model that only the remote server knows, its name there."""
    accepts_images: bool
    variant: str = ""
    """Of a model on ONNX: what the loader is asked for behind the model's id (`onnx-int8`, `exported-int8`)."""


def chat_models() -> list[ModelEntry]:
    return [entry for task in TASKS for entry in get_catalog().of_task(task)]


def remote_models() -> list[str]:
    """Names that are asked of the remote server beside the catalog's models."""
    return settings.CHAT_REMOTE_MODELS if settings.CHAT_REMOTE_URL else []


def select(model: str | None, backend: str) -> BackendSelection:
    """Raises DarkroomError (404) for an unknown model, ValidationError for a backend that can't run it."""
    model = None if model == PLACEHOLDER_MODEL else model
    name = model or settings.DEFAULT_CHAT_MODEL
    try:
        entry = get_catalog().get(name, TASKS)
    except UnknownModel as error:
        if name in remote_models():
            return remote_only(name, backend)
        raise unknown_model(name, error, is_default=model is None) from None
    if entry.task not in TASKS:
        raise ValidationError({"model": [f"'{name}' doesn't chat (its task is {entry.task})."]}, code="wrong_task")
    reasons = {name: reason_against(name, entry) for name in BACKENDS[1:]}
    local = ["pytorch", "onnx"] if is_accelerated() else ["onnx", "pytorch"]
    wanted = [*local, "remote"] if backend == "auto" else [backend]
    chosen = next((name for name in wanted if not reasons[name]), None)
    if chosen is None:
        raise ValidationError({"backend": [" ".join(reasons[name] for name in wanted)]}, code="unfit_backend")
    return BackendSelection(chosen, entry.id, entry.task == VISION_TASK, onnx_variant(entry) if chosen == "onnx" else "")


def context_of(model: object) -> int | None:
    """Tokens of a model's context by its config.json, where its files are here; for a message alone, what counts is the worker's."""
    from api.downloads.store import ModelStore  # the hub's client takes a third of a second to import

    try:
        entry = get_catalog().get(str(settings.DEFAULT_CHAT_MODEL if model in (None, PLACEHOLDER_MODEL) else model))
        folder = ModelStore(settings.MODELS_DIR).folder(entry)
        config = json.loads((folder / "config.json").read_text()) if folder else {}
    except (UnknownModel, OSError, ValueError):
        return None
    config = config.get("text_config", config)
    return next((config[name] for name in CONTEXT_KEYS if isinstance(config.get(name), int)), None)


def is_accelerated() -> bool:
    """Does any worker that is alive run on something other than a processor?"""
    devices = Worker.objects.exclude(state=Worker.State.STOPPED).values_list("device", flat=True)
    return any(device["device"]["type"] != "cpu" for device in devices if "device" in device)


def reason_against(backend: str, entry: ModelEntry) -> str:
    """Why a backend can't run a model here; '' where it can."""
    if backend == "remote":
        return "" if settings.CHAT_REMOTE_URL else "There is no remote server (CHAT_REMOTE_URL)."
    if not settings.USE_LOCAL_MODELS:
        return "Models don't run on this server (USE_LOCAL_MODELS is off)."
    return reason_against_onnx(entry) if backend == "onnx" else reason_against_torch(entry)


def reason_against_onnx(entry: ModelEntry) -> str:
    """Only what is here as files, or is told by the catalog to be on the hub, can be run."""
    if (entry.onnx_variant and fits(entry.onnx_variant, entry.precision)) or onnx_variant(entry):
        return ""
    if entry.precision == "bf16":
        return "ONNX models don't come in bf16."
    wanted = "" if entry.precision == "auto" else f" in {entry.precision}"
    if entry.onnx_only:
        return f"{entry.id} is not published{wanted}, only as {', '.join(entry.onnx)}."
    if entry.family not in ONNX_FAMILIES:
        return f"{entry.id} can't be run on ONNX here: there is no export of the family {entry.family}."
    precision = entry.precision if entry.precision in EXPORTED else "int8"
    return f"There is no ONNX export of {entry.id}{wanted} here: `{export_command(entry, precision)}` makes one."


def reason_against_torch(entry: ModelEntry) -> str:
    if entry.onnx_only:
        return f"{entry.id} is published for ONNX only."
    if entry.precision in ("int8", "int4") and not find_spec("bitsandbytes"):
        instead = f"; on a processor: `{export_command(entry, entry.precision)}`" if entry.family in ONNX_FAMILIES else ""
        return f"{entry.precision} on PyTorch needs CUDA and bitsandbytes, which is not installed{instead}."
    return ""


def export_command(entry: ModelEntry, precision: str) -> str:
    return f"python manage.py export_onnx {entry.id} --precision {precision}"


EXPORTED = {"int8": "int8", "fp32": "fp32", "int4": "q4", "fp16": "fp16"}
"""The variants that `export_onnx` makes, by precision, the one to take first."""


def onnx_variant(entry: ModelEntry) -> str:
    """What was exported here before what is published; '' where there is neither, or the entry is a variant itself."""
    from api.downloads.onnx_exports import is_exported

    if entry.onnx_variant:
        return ""
    exported = (variant for variant in EXPORTED.values() if fits(variant, entry.precision))
    if variant := next((each for each in exported if is_exported(settings.MODELS_DIR, entry, each)), None):
        return f"exported-{variant}"
    published = next((variant for variant in entry.onnx if fits(variant, entry.precision)), None)
    return f"onnx-{published}" if published else ""


def preferred_entry(entry: ModelEntry) -> ModelEntry:
    """What a request that leaves the choice to the server loads: the model itself, or a variant of it on ONNX."""
    variant = onnx_variant(entry) if entry.task in TASKS else ""
    return get_catalog().get(f"{entry.id}@{variant}") if variant else entry


def fits(variant: str, precision: str) -> bool:
    return precision in ("", "auto") or variant in ONNX_PRECISIONS[precision]


def remote_only(name: str, backend: str) -> BackendSelection:
    if backend not in ("auto", "remote"):
        raise ValidationError({"backend": [f"{name} is only on the remote server."]}, code="unfit_backend")
    return BackendSelection("remote", name, True)


def accepts_images(model: str) -> bool:
    """Of a model that was selected before; what only the remote server knows is taken to."""
    try:
        return get_catalog().get(model).task == VISION_TASK
    except UnknownModel:
        return True


def unknown_model(name: str, error: UnknownModel, *, is_default: bool) -> DarkroomError:
    if not is_default:
        return DarkroomError("model_not_found", 404, f"{error} GET /v1/models lists those that this server knows.")
    fetched = f"fetch one with `python manage.py preload_models --models {SUGGESTED_MODEL}` and set DEFAULT_CHAT_MODEL={SUGGESTED_MODEL}"
    there = next((f"set DEFAULT_CHAT_MODEL={model}, which the remote server has" for model in remote_models()), fetched)
    detail = (
        f"No model was named, and DEFAULT_CHAT_MODEL ('{name}') is not on this server. Name one of GET /v1/models, or {there}."
    )
    return DarkroomError("model_not_found", 404, detail)
