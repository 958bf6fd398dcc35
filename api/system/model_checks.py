"""System checks of the settings that name models, and of the servers that run some: see checks.py."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning

from api.catalog import UPSCALING, Catalog, CatalogError, ModelEntry, UnknownModel
from api.catalog.single_files import why_not_stored
from api.catalog.storages import STORAGE_MEASURES, why_no_storage
from api.images.scheduler_presets import scheduler_names
from api.system.access_checks import is_origin
from api.system.checks import check
from api.vision.ocr.languages import languages
from api.vision.ocr.models import OCR, REMOTE_MODEL
from config.catalog import CHAT_TASKS, get_tables

MEASURES = (
    "vae_slicing",
    "vae_tiling",
    "attention_slicing",
    "cpu_offload",
    *STORAGE_MEASURES,
    "group_offload",
)  # the names in api/loading/device_memory.py, which needs torch
IMAGE_TASK = "text-to-image"
SHIPPED_CHAT_MODEL = "starter-vlm"  # no fault while it isn't built in: a request that names no model is told what to do
CLIP_TASK = "zero-shot-image-classification"
AESTHETIC_TASKS = ("image-aesthetics", "aesthetic-head")
HAZARD_TASKS = ("hazard-cells",)
PICTURE_CHECK_TASKS = ("image-classification",)
CUTOUT_TASKS = ("image-segmentation", "mask-generation")
DETECTION_TASKS = ("object-detection", "zero-shot-object-detection")


@check(Tags.models)
def check_catalog() -> Iterator[CheckMessage]:
    try:
        catalog = get_tables()
    except CatalogError as error:
        yield Error(str(error), hint="Correct the file that CATALOG_EXTRA names, or unset it.", id="darkroom.E001")
        return
    try:
        entry = catalog.get(settings.DEFAULT_IMAGE_MODEL)
    except UnknownModel as error:
        if settings.LIBRARY_DIRS:
            return  # a file of the library, which only the database knows: `manage.py doctor` asks it
        known = ", ".join(model.id for model in catalog.of_task(IMAGE_TASK))
        yield Error(f"DEFAULT_IMAGE_MODEL: {error}", hint=f"Set it to one of {known}.", id="darkroom.E002")
        return
    yield from check_default_model(entry)
    yield from check_schedulers(catalog)
    yield from check_clip_model(catalog)
    yield from check_model_of_task(catalog, "DEFAULT_AESTHETIC_MODEL", AESTHETIC_TASKS, "rates no pictures", "E020", "E021")
    yield from check_model_of_task(
        catalog, "DEFAULT_DETECTION_MODEL", DETECTION_TASKS, "finds nothing in pictures", "E023", "E024"
    )
    yield from check_model_of_task(catalog, "DEFAULT_HAZARD_MODEL", HAZARD_TASKS, "looks for no hazards", "E025", "E026")
    yield from check_model_of_task(catalog, "DEFAULT_UPSCALE_MODEL", (UPSCALING,), "enlarges no pictures", "E040", "E041")
    yield from check_model_of_task(catalog, "DEFAULT_CUTOUT_MODEL", CUTOUT_TASKS, "cuts nothing out", "E050", "E051")
    yield from check_model_of_task(
        catalog, "PICTURE_CHECK_MODEL", PICTURE_CHECK_TASKS, "classifies no pictures", "E064", "E065"
    )
    if settings.DEFAULT_OCR_MODEL != REMOTE_MODEL:
        yield from check_model_of_task(catalog, "DEFAULT_OCR_MODEL", (OCR,), "reads no text", "E032", "E033")


def check_schedulers(catalog: Catalog) -> Iterator[CheckMessage]:
    """Of entries whose default is not their checkpoint's own."""
    for entry in catalog.models.values():
        if entry.scheduler and entry.scheduler not in scheduler_names(entry.family):
            message = f"The catalog's scheduler of {entry.id} is {entry.scheduler!r}, which does not work with it."
            yield Error(message, hint=f"Use one of {', '.join(scheduler_names(entry.family))}.", id="darkroom.E034")


def check_clip_model(catalog: Catalog) -> Iterator[CheckMessage]:
    known = ", ".join(model.id for model in catalog.of_task(CLIP_TASK))
    hint = f"Set it to one of {known}."
    try:
        entry = catalog.get(settings.DEFAULT_CLIP_MODEL)
    except UnknownModel as error:
        yield Error(f"DEFAULT_CLIP_MODEL: {error}", hint=hint, id="darkroom.E015")
        return
    if entry.task != CLIP_TASK:
        message = f"DEFAULT_CLIP_MODEL is {entry.id}, which compares no pictures with words (its task is {entry.task})."
        yield Error(message, hint=hint, id="darkroom.E016")
    if entry.id == "starter-clip" and settings.PROMPT_SCORES and settings.DEFAULT_IMAGE_MODEL != "starter":
        message = f"starter-clip, which knows the starter's pictures alone, scores those of {settings.DEFAULT_IMAGE_MODEL}."
        hint = "Set DEFAULT_CLIP_MODEL=clip-vit-base-patch32 (0.6 GB to fetch), or PROMPT_SCORES=false."
        yield Warning(message, hint=hint, id="darkroom.W007")


def check_model_of_task(
    catalog: Catalog, setting: str, tasks: tuple[str, ...], cannot: str, unknown_id: str, wrong_id: str
) -> Iterator[CheckMessage]:
    known = [model for task in tasks for model in catalog.of_task(task)]
    hint = f"Set it to one of {', '.join(model.id for model in known)}."
    try:
        entry = catalog.get(getattr(settings, setting))
    except UnknownModel as error:
        yield Error(f"{setting}: {error}", hint=hint, id=f"darkroom.{unknown_id}")
        return
    if entry not in known:
        message = f"{setting} is {entry.id}, which {cannot} (its task is {entry.task})."
        yield Error(message, hint=hint, id=f"darkroom.{wrong_id}")


def check_default_model(entry: ModelEntry) -> Iterator[CheckMessage]:
    if entry.task != IMAGE_TASK:
        message = f"DEFAULT_IMAGE_MODEL is {entry.id}, which makes no pictures (its task is {entry.task})."
        yield Error(message, hint=f"Set it to a model whose task is {IMAGE_TASK}.", id="darkroom.E003")
    elif not settings.USE_LOCAL_MODELS and entry.repo is None:
        message = f"USE_LOCAL_MODELS is off, and DEFAULT_IMAGE_MODEL {entry.id} is not on the hub."
        yield Error(message, hint="Set DEFAULT_IMAGE_MODEL to a model that has a repository there.", id="darkroom.E004")
    elif settings.USE_LOCAL_MODELS and entry.gated and not settings.HF_TOKEN:
        message = f"DEFAULT_IMAGE_MODEL {entry.id} is gated, and there is no HF_TOKEN to fetch it with."
        hint = (
            f"Accept its licence on {entry.source}, then set HF_TOKEN (or HF_TOKEN_FILE). If its weights are here, all is well."
        )
        yield Warning(message, hint=hint, id="darkroom.W003")
    if settings.USE_LOCAL_MODELS and (reason := why_not_stored(entry)):
        message = f"DEFAULT_IMAGE_MODEL {entry.id} can't be loaded: {reason}"
        yield Error(message, hint="Install it, or set another `storage` in its table.", id="darkroom.E093")
    limit = settings.MODEL_MEMORY_LIMIT
    if settings.USE_LOCAL_MODELS and limit is not None and entry.memory > limit and not entry.storage:
        message = f"MODEL_MEMORY_LIMIT ({limit / 1e9:.1f} GB) is below what {entry.id} takes ({entry.memory / 1e9:.1f} GB)."
        yield Warning(message, hint="Raise it, or choose a smaller DEFAULT_IMAGE_MODEL.", id="darkroom.W004")


@check(Tags.models)
def check_model_settings() -> Iterator[CheckMessage]:
    unknown = [name for name in settings.MEMORY_MEASURES if name.removeprefix("-") not in MEASURES]
    if unknown:
        message = f"MEMORY_MEASURES has {', '.join(map(repr, unknown))}, which nothing here knows."
        hint = f"There are {', '.join(MEASURES)}; with a minus in front, one is never taken unasked."
        yield Error(message, hint=hint, id="darkroom.E005")
    for name in sorted(set(settings.MEMORY_MEASURES) & STORAGE_MEASURES.keys()):
        if missing := why_no_storage(STORAGE_MEASURES[name]):
            yield Error(f"MEMORY_MEASURES has {name}, {missing}", hint="Install it, or leave the name out.", id="darkroom.E092")
    if not settings.USE_LOCAL_MODELS and not settings.HF_TOKEN:
        message = "USE_LOCAL_MODELS is off, and there is no HF_TOKEN to use the hub's models with."
        yield Error(message, hint="Set HF_TOKEN (or HF_TOKEN_FILE), or USE_LOCAL_MODELS=true.", id="darkroom.E006")
    if settings.HF_ENDPOINT and not is_origin(settings.HF_ENDPOINT.rstrip("/"), path=True):
        hint = "It is a URL such as https://huggingface.co; unset it for that one."
        yield Error(f"HF_ENDPOINT is no URL: {settings.HF_ENDPOINT!r}.", hint=hint, id="darkroom.E007")


@check(Tags.models)
def check_ocr() -> Iterator[CheckMessage]:
    if settings.OCR_REMOTE_URL and not is_origin(settings.OCR_REMOTE_URL.rstrip("/"), path=True):
        hint = "It is where the OCR server listens, such as http://gpu:8080."
        yield Error(f"OCR_REMOTE_URL is no URL: {settings.OCR_REMOTE_URL!r}.", hint=hint, id="darkroom.E034")
    if settings.DEFAULT_OCR_MODEL == REMOTE_MODEL and not settings.OCR_REMOTE_URL:
        hint = "Set OCR_REMOTE_URL to the server."
        yield Error(f"DEFAULT_OCR_MODEL is {REMOTE_MODEL}, and there is no OCR_REMOTE_URL.", hint=hint, id="darkroom.E035")
    if unknown := [code for code in settings.OCR_REMOTE_LANGUAGES if code not in languages()]:
        hint = f"There are {', '.join(languages())}."
        yield Error(
            f"OCR_REMOTE_LANGUAGES has {unknown[0]!r}, which is no code of a language here.", hint=hint, id="darkroom.E036"
        )


@check(Tags.models)
def check_chat() -> Iterator[CheckMessage]:
    if settings.CHAT_REMOTE_URL and not is_origin(settings.CHAT_REMOTE_URL.rstrip("/"), path=True):
        hint = "It is where the other server's API begins, such as http://gpu:8001/v1."
        yield Error(f"CHAT_REMOTE_URL is no URL: {settings.CHAT_REMOTE_URL!r}.", hint=hint, id="darkroom.E017")
    if settings.CHAT_REMOTE_MODELS and not settings.CHAT_REMOTE_URL:
        hint = "Set CHAT_REMOTE_URL to the server that has them."
        yield Warning("CHAT_REMOTE_MODELS names models, and there is no CHAT_REMOTE_URL.", hint=hint, id="darkroom.W006")
    name = settings.DEFAULT_CHAT_MODEL
    if name in (SHIPPED_CHAT_MODEL, *settings.CHAT_REMOTE_MODELS):
        return
    try:
        entry = get_tables().get(name)
    except CatalogError:
        return  # said above
    except UnknownModel as error:
        yield Error(f"DEFAULT_CHAT_MODEL: {error}", hint="GET /v1/models lists those that chat.", id="darkroom.E018")
        return
    if entry.task not in CHAT_TASKS:
        message = f"DEFAULT_CHAT_MODEL is {entry.id}, which doesn't chat (its task is {entry.task})."
        yield Error(message, hint=f"Set it to a model whose task is {' or '.join(CHAT_TASKS)}.", id="darkroom.E019")
