"""Which backend answers with which model, decided when a request is taken: a curated ONNX model first, then PyTorch, then remote."""

from dataclasses import dataclass

from django.conf import settings
from rest_framework.exceptions import ValidationError

from api.catalog import ModelEntry, UnknownModel
from api.problems import Problem
from config.catalog import get_catalog

SEES, TALKS = "image-text-to-text", "text-generation"
TASKS = (SEES, TALKS)
BACKENDS = ("auto", "pytorch", "onnx", "remote")
SUGGESTED = "HuggingFaceTB/SmolVLM-256M-Instruct"


@dataclass(frozen=True)
class Selection:
    backend: str
    model: str
    """The catalog's id; for a model that only the remote server knows, its name there."""
    sees: bool


def chat_models() -> list[ModelEntry]:
    return [entry for task in TASKS for entry in get_catalog().of_task(task)]


def remote_models() -> list[str]:
    """Names that are asked of the remote server beside the catalog's models."""
    return settings.CHAT_REMOTE_MODELS if settings.CHAT_REMOTE_URL else []


def select(model: str | None, backend: str) -> Selection:
    """Raises Problem (404) for an unknown model, ValidationError for a backend that can't run it."""
    name = model or settings.DEFAULT_CHAT_MODEL
    try:
        entry = get_catalog().get(name)
    except UnknownModel as error:
        if name in remote_models():
            return remote_only(name, backend)
        raise unknown_model(name, error, is_default=model is None) from None
    if entry.task not in TASKS:
        raise ValidationError({"model": [f"'{name}' doesn't chat (its task is {entry.task})."]}, code="wrong_task")
    reasons = {name: reason_against(name, entry) for name in BACKENDS[1:]}
    wanted = ["onnx", "pytorch", "remote"] if backend == "auto" else [backend]
    chosen = next((name for name in wanted if not reasons[name]), None)
    if chosen is None:
        raise ValidationError({"backend": [" ".join(reasons[name] for name in wanted)]}, code="unfit_backend")
    return Selection(chosen, entry.id, entry.task == SEES)


def reason_against(backend: str, entry: ModelEntry) -> str:
    """Why a backend can't run a model here; '' where it can."""
    if backend == "remote":
        return "" if settings.CHAT_REMOTE_URL else "There is no remote server (CHAT_REMOTE_URL)."
    if not settings.USE_LOCAL_MODELS:
        return "Models don't run on this server (USE_LOCAL_MODELS is off)."
    if backend == "onnx":
        return f"{entry.id} can't be run on ONNX here."
    return f"{entry.id} is published for ONNX only." if is_onnx(entry) else ""


def is_onnx(entry: ModelEntry) -> bool:
    return any(".onnx" in pattern for pattern in entry.files)


def remote_only(name: str, backend: str) -> Selection:
    if backend not in ("auto", "remote"):
        raise ValidationError({"backend": [f"{name} is only on the remote server."]}, code="unfit_backend")
    return Selection("remote", name, True)


def unknown_model(name: str, error: UnknownModel, *, is_default: bool) -> Problem:
    if not is_default:
        return Problem("model_not_found", 404, f"{error} GET /v1/models lists those that this server knows.")
    fetched = f"fetch one with `python manage.py preload_models --models {SUGGESTED}` and set DEFAULT_CHAT_MODEL={SUGGESTED}"
    there = next((f"set DEFAULT_CHAT_MODEL={model}, which the remote server has" for model in remote_models()), fetched)
    detail = (
        f"No model was named, and DEFAULT_CHAT_MODEL ('{name}') is not on this server. Name one of GET /v1/models, or {there}."
    )
    return Problem("model_not_found", 404, detail)
