"""System checks: every wrong setting has an id, a sentence and a cure. `manage.py check` shows them, every command runs them.

Those of models are in model_checks.py, those of access in access_checks.py, of pictures' storage and of traces in media_checks.py and
trace_checks.py. E: the server would not work as it is set. W: it works, and its owner should know. None asks the database or the network.
"""

import importlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.urls import URLPattern, URLResolver
from django.utils.module_loading import module_has_submodule
from rest_framework.views import APIView

from api.files.storage import media_folder
from api.system.extra_urls import extra_urls
from api.system.media_checks import IDENTIFIER, media_storage_messages
from config.env import can_write, relative_paths, setting_names
from config.env_file import mistyped_names, unknown_names

SQLITE_WITHOUT_WAL_BUG = (3, 51, 3)

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
    if not can_write(folder):
        hint = f"Give the account that runs this process the right to write there, or set {name} to another folder."
        yield Error(f"{name} ({folder}) can't be written to.", hint=hint, id=identifier)


@check(Tags.files)
def check_relative_paths() -> Iterator[CheckMessage]:
    """`./start.sh` goes to the checkout's folder first; other processes are started anywhere."""
    here = Path.cwd()
    for name, path in relative_paths.items() if here != settings.BASE_DIR else ():
        message = f"{name} ({path}) is relative: here it is {here / path}, for ./start.sh {settings.BASE_DIR / path}."
        yield Warning(message, hint=f"Write {name} as a whole path, from / on.", id="darkroom.W094")


@check(Tags.files)
def check_env_file() -> Iterator[CheckMessage]:
    for name, nearest in unknown_names(settings.ENV_FILE_LINES, setting_names).items():
        message = f"{settings.ENV_FILE}, line {settings.ENV_FILE_LINES[name]}: there is no setting {name}."
        hint = f"Did you mean {nearest}?" if nearest else "README.md has the table of settings."
        yield Warning(message, hint=hint, id="darkroom.W008")
    outside = os.environ.keys() - settings.ENV_FILE_LINES
    for name, nearest in mistyped_names(outside, setting_names).items():
        message = f"There is no setting {name}, which the environment has."
        yield Warning(message, hint=f"Did you mean {nearest}?", id="darkroom.W095")


# ---------------------------------------------------------------- EXTRA_APPS


@check(Tags.urls)
def check_extra_urls() -> Iterator[CheckMessage]:
    """REST framework's views ask for a key; any other view would be open to everybody."""
    for address, callback in addresses_of(extra_urls()):
        view = getattr(callback, "cls", None)
        if not (isinstance(view, type) and issubclass(view, APIView)):
            message = f"EXTRA_APPS: the address {address} is no view of REST framework, and would be open to everybody."
            yield Error(message, hint="Make it an APIView, or a SubmitView for jobs.", id="darkroom.E031")


@check()
def check_extra_migrations() -> Iterator[CheckMessage]:
    """Of an app with models and no migrations no table is made, and each of its jobs would fail."""
    for entry in settings.EXTRA_APPS:
        config = apps.get_app_config(AppConfig.create(entry).label)
        if any(config.get_models()) and not module_has_submodule(config.module, "migrations"):
            hint = f"Make them: `manage.py makemigrations {config.label}`, then `manage.py migrate`."
            yield Warning(f"EXTRA_APPS: {config.label} has models and no migrations.", hint=hint, id="darkroom.W009")


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
    return why_no_transport(scheme) or why_no_options(url)


def why_no_options(url: str) -> str:
    """What follows the '?'."""
    from kombu.utils.url import parse_url

    try:
        parse_url(url)
    except KeyError as error:  # the one option whose values it looks up
        return f"ssl_cert_reqs={error.args[0]} is not known there; required, optional and none are"
    return ""


def why_no_transport(scheme: str) -> str:
    from kombu.transport import resolve_transport  # for those that use Celery alone

    try:
        if scheme in ("redis", "rediss"):
            importlib.import_module("redis")  # first: without it, importing kombu's transport is an AttributeError
        if getattr(resolve_transport(scheme), "driver_type", "") == "memory":
            return f"what is sent by {scheme!r} stays in its process: no worker hears of it"
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
