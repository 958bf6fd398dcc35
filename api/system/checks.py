"""System checks: every wrong setting has an id, a sentence and a cure. `manage.py check` shows them, every command runs them.

E: the server would not work as it is set. W: it works, and its owner should know. None asks the database or the network.
"""

import importlib
import ipaddress
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.http.request import validate_host
from django.urls import URLPattern, URLResolver
from rest_framework.views import APIView

from api.catalog import UPSCALING, Catalog, CatalogError, ModelEntry, UnknownModel
from api.catalog.single_files import why_not_stored
from api.catalog.storages import STORAGE_MEASURES, why_no_storage
from api.files.storage import media_folder
from api.images.scheduler_presets import scheduler_names
from api.system.extra_urls import extra_urls
from api.system.media_checks import IDENTIFIER, media_storage_messages
from api.vision.ocr.languages import languages
from api.vision.ocr.models import OCR, REMOTE_MODEL
from config.catalog import CHAT_TASKS, get_tables
from config.env import setting_names
from config.env_file import unknown_names

MEASURES = (
    "vae_slicing",
    "vae_tiling",
    "attention_slicing",
    "cpu_offload",
    *STORAGE_MEASURES,
    "group_offload",
)  # the names in api/loading/device_memory.py, which needs torch
SQLITE_WITHOUT_WAL_BUG = (3, 51, 3)
IMAGE_TASK = "text-to-image"
SHIPPED_CHAT_MODEL = "starter-vlm"  # no fault while it isn't built in: a request that names no model is told what to do
LEAST_KEY = 32
MAKE_KEY = "Set it to 50 random characters: python -c 'import secrets; print(secrets.token_urlsafe(50))'."
HOST_PATTERN = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")
CLIP_TASK = "zero-shot-image-classification"
AESTHETIC_TASKS = ("image-aesthetics", "aesthetic-head")
HAZARD_TASKS = ("hazard-cells",)
PICTURE_CHECK_TASKS = ("image-classification",)
CUTOUT_TASKS = ("image-segmentation", "mask-generation")
DETECTION_TASKS = ("object-detection", "zero-shot-object-detection")

Check = Callable[..., list[CheckMessage]]


def check(*tags: str, deploy: bool = False) -> Callable[[Callable[[], Iterator[CheckMessage]]], Check]:
    """Registers a generator of messages."""

    def decorate(function: Callable[[], Iterator[CheckMessage]]) -> Check:
        def run(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
            return list(function())

        run.__name__ = function.__name__
        register(run, "darkroom", *tags, deploy=deploy)
        return run

    return decorate


# ---------------------------------------------------------------- models


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


# ---------------------------------------------------------------- folders


@check(Tags.files)
def check_folders() -> Iterator[CheckMessage]:
    yield from check_folder("DATA_DIR", settings.DATA_DIR, "darkroom.E008")
    yield from check_folder("MODELS_DIR", settings.MODELS_DIR, "darkroom.E010")


@check(Tags.files)
def check_media_storage() -> Iterator[CheckMessage]:
    found = list(media_storage_messages())
    yield from found
    if any(message.id == IDENTIFIER for message in found):
        return
    folder = media_folder()
    if folder is not None:
        yield from check_folder("MEDIA_ROOT", folder, "darkroom.E009")
    elif settings.MEDIA_ACCEL_PREFIX:
        message = "MEDIA_ACCEL_PREFIX has no effect: with this MEDIA_STORAGE no proxy in front can read the pictures' files."
        yield Warning(message, hint="Unset MEDIA_ACCEL_PREFIX.", id="darkroom.W030")


def check_folder(name: str, folder: Path, identifier: str) -> Iterator[CheckMessage]:
    if not is_writable(folder):
        hint = f"Give the account that runs this process the right to write there, or set {name} to another folder."
        yield Error(f"{name} ({folder}) can't be written to.", hint=hint, id=identifier)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in it; where it is not there yet, whether it can be made."""
    place = next(place for place in (folder, *folder.parents) if place.exists())
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


@check(Tags.files)
def check_env_file() -> Iterator[CheckMessage]:
    for name, nearest in unknown_names(settings.ENV_FILE_LINES, setting_names).items():
        message = f"{settings.ENV_FILE}, line {settings.ENV_FILE_LINES[name]}: there is no setting {name}."
        hint = f"Did you mean {nearest}?" if nearest else "README.md has the table of settings."
        yield Warning(message, hint=hint, id="darkroom.W008")


# ---------------------------------------------------------------- EXTRA_APPS


@check(Tags.urls)
def check_extra_urls() -> Iterator[CheckMessage]:
    """REST framework's views ask for a key; any other view would be open to everybody."""
    for address, callback in addresses_of(extra_urls()):
        view = getattr(callback, "cls", None)
        if not (isinstance(view, type) and issubclass(view, APIView)):
            message = f"EXTRA_APPS: the address {address} is no view of REST framework, and would be open to everybody."
            yield Error(message, hint="Make it an APIView, or a SubmitView for jobs.", id="darkroom.E031")


def addresses_of(patterns: Iterable[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each address with what answers there."""
    for pattern in patterns:
        address = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from addresses_of(pattern.url_patterns, address)
        else:
            yield address, pattern.callback


# ---------------------------------------------------------------- jobs


@check()
def check_jobs() -> Iterator[CheckMessage]:
    if settings.JOB_RUNNER == "celery":
        yield from check_broker()
    lease, heartbeat = settings.JOB_LEASE_SECONDS, settings.JOB_HEARTBEAT_SECONDS
    if heartbeat >= lease:
        message = f"JOB_HEARTBEAT_SECONDS ({heartbeat}) is not below JOB_LEASE_SECONDS ({lease}): every lease would be lost."
        yield Error(message, hint="A lease of six heartbeats is usual (30 and 5).", id="darkroom.E012")
    elif heartbeat * 2 > lease:
        message = (
            f"JOB_HEARTBEAT_SECONDS ({heartbeat}) is over half of JOB_LEASE_SECONDS ({lease}): a late one loses its lease."
        )
        yield Warning(message, hint="A lease of six heartbeats is usual (30 and 5).", id="darkroom.W005")


def check_broker() -> Iterator[CheckMessage]:
    """Whether wake-ups can be sent by its kind of broker. That it answers is for doctor to try."""
    url = settings.CELERY_BROKER_URL
    hint = "Set CELERY_BROKER_URL, for example to redis://localhost:6379/0, or JOB_RUNNER=embedded."
    if not url:
        yield Error("JOB_RUNNER is celery, and there is no CELERY_BROKER_URL.", hint=hint, id="darkroom.E011")
    elif reason := why_no_broker(url):
        yield Error(f"CELERY_BROKER_URL can't be used: {reason}.", hint=hint, id="darkroom.E022")


def why_no_broker(url: str) -> str:
    scheme, mark, _ = url.partition("://")
    if not mark:
        return "it begins with no scheme, such as redis:// or amqp://"
    try:
        urlsplit(url).port  # noqa: B018  (raises for a port that is none)
    except ValueError:
        return "its port is no number, or its password has a character that is written as % and two digits there (# as %23, / as %2F)"
    return why_no_transport(scheme)


def why_no_transport(scheme: str) -> str:
    from kombu.transport import resolve_transport  # for those that use Celery alone

    try:
        if scheme in ("redis", "rediss"):
            importlib.import_module("redis")  # first: without it, importing kombu's transport is an AttributeError
        resolve_transport(scheme)
    except KeyError:
        return f"Celery knows no broker whose address begins with {scheme!r}"
    except ImportError as error:
        return f"for {scheme!r} the Python package of the module '{error.name}' must be installed"
    return ""


@check(Tags.database, deploy=True)
def check_sqlite() -> Iterator[CheckMessage]:
    if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3") or sqlite3.sqlite_version_info >= SQLITE_WITHOUT_WAL_BUG:
        return
    # No warning: no current Python comes with that version, and an owner can do little about it.
    message = (
        f"SQLite {sqlite3.sqlite_version} can, very rarely, damage a database when a write-ahead log is reset (before 3.51.3)."
    )
    yield Info(
        message, hint="Keep backups, use a Python with a newer SQLite, or PostgreSQL (DATABASE_URL).", id="darkroom.I001"
    )


# ---------------------------------------------------------------- access


@check(Tags.security)
def check_access() -> Iterator[CheckMessage]:
    if not is_loopback(settings.HOST) and set(settings.ALLOWED_HOSTS) <= set(settings.LOOPBACK_NAMES):
        message = (
            f"HOST is {settings.HOST}, and ALLOWED_HOSTS names only this machine: requests from elsewhere are refused (400)."
        )
        hint = "Set ALLOWED_HOSTS to the names and addresses that clients use, separated by commas."
        yield Warning(message, hint=hint, id="darkroom.W001")
    for host in settings.ALLOWED_HOSTS:
        if not HOST_PATTERN.fullmatch(host):
            hint = "Write names and addresses alone, without scheme, port and path, separated by commas: pictures.example.com,10.0.0.7."
            yield Error(f"ALLOWED_HOSTS has {host!r}, which no request's host can be.", hint=hint, id="darkroom.E090")
    if settings.DEBUG and not is_loopback(settings.HOST):
        message = f"DEBUG is on while HOST is {settings.HOST}: error pages would show settings and code to everybody."
        yield Warning(message, hint="Unset DEBUG, or keep HOST at 127.0.0.1.", id="darkroom.W002")
    for origin in settings.CORS_ORIGINS:
        if not is_origin(origin):
            hint = "An origin is a scheme, a host and at most a port: https://app.example.com; no path, no '*'."
            yield Error(f"CORS_ORIGINS has {origin!r}, which is no origin.", hint=hint, id="darkroom.E013")
    if settings.PUBLIC_URL:
        yield from public_url_messages(settings.PUBLIC_URL)
    prefix = settings.MEDIA_ACCEL_PREFIX
    if prefix and not prefix.startswith("/"):
        hint = "Set it to the proxy's internal location, for example /protected/."
        yield Error(f"MEDIA_ACCEL_PREFIX must begin with '/', not {prefix!r}.", hint=hint, id="darkroom.E014")


@check(Tags.security)
def check_secret_key() -> Iterator[CheckMessage]:
    length = len(settings.SECRET_KEY)
    if length < LEAST_KEY:
        message = (
            f"SECRET_KEY has {length} characters: who guesses it can make sessions of any account, and read webhooks' secrets."
        )
        yield Warning(message, hint=f"{MAKE_KEY} Or unset it: the first run makes one.", id="darkroom.W090")
    elsewhere = settings.JOB_RUNNER == "celery" and settings.DATABASES["default"]["ENGINE"] == "config.postgres"
    if elsewhere and not settings.SECRET_KEY_GIVEN:
        message = (
            "There is no SECRET_KEY: each data folder has made its own, and other machines can't read what this one signs."
        )
        hint = f"Set it to that of {settings.DATA_DIR / 'secret_key'} for all of them, if there is more than one data folder."
        yield Warning(message, hint=hint, id="darkroom.W091")


def public_url_messages(url: str) -> Iterator[CheckMessage]:
    if not is_origin(url):
        hint = "It is a scheme, a host and at most a port: https://pictures.example.com."
        yield Error(f"PUBLIC_URL is {url!r}, which is no address that links can begin with.", hint=hint, id="darkroom.E068")
        return
    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        hint = "Set it to the address by which the receivers of webhooks reach this server, or unset it."
        yield Warning(
            f"PUBLIC_URL is {url}: links in webhooks lead to the receivers' own machines.", hint=hint, id="darkroom.W068"
        )
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        message = f"PUBLIC_URL is {url}, and ALLOWED_HOSTS has no {host}: whoever follows a webhook's link is refused (400)."
        yield Warning(message, hint=f"Add {host} to ALLOWED_HOSTS.", id="darkroom.W069")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_origin(value: str, *, path: bool = False) -> bool:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  (raises for a port that is none)
    except ValueError:
        return False
    rest = parts.query or parts.fragment or parts.username or (parts.path and not path)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "*" not in value and not rest
