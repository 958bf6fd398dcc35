"""Every wrong setting has an id, a sentence and a cure."""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from api.catalog import ModelEntry, storages
from api.loading.device_memory import MEASURES
from api.system import access_checks, checks, model_checks
from config.catalog import get_catalog

IN_A_FLEET = {
    "JOB_RUNNER": "celery",
    "CELERY_BROKER_URL": "redis://queue",
    "SECRET_KEY_GIVEN": "",
    "DATABASES": {"default": {"ENGINE": "config.postgres"}},
}


@pytest.fixture(autouse=True)
def fresh_catalog() -> Iterator[None]:
    get_catalog.cache_clear()
    yield
    get_catalog.cache_clear()


def ours(*, deploy: bool = False) -> dict[str, CheckMessage]:
    messages = run_checks(include_deployment_checks=deploy)
    return {str(message.id): message for message in messages if str(message.id).startswith("darkroom.")}


def test_the_default_settings_have_nothing_wrong() -> None:
    assert ours() == {}


def test_the_default_settings_pass_djangos_own_checks_for_deployment() -> None:
    serious = [
        message
        for message in run_checks(include_deployment_checks=True)
        if message.is_serious(30) and not message.is_silenced()
    ]
    assert serious == []


@pytest.mark.parametrize(
    ("identifier", "wrong", "named"),
    [
        ("darkroom.E001", {"CATALOG_EXTRA": Path("/nowhere/catalog.toml")}, "/nowhere/catalog.toml"),
        ("darkroom.E002", {"DEFAULT_IMAGE_MODEL": "dreamshaper-9"}, "dreamshaper-8"),
        ("darkroom.E004", {"USE_LOCAL_MODELS": False, "DEFAULT_IMAGE_MODEL": "starter"}, "starter"),
        ("darkroom.E005", {"MEMORY_MEASURES": ["vae_slicing", "magic"]}, "'magic'"),
        ("darkroom.E006", {"USE_LOCAL_MODELS": False, "HF_TOKEN": ""}, "HF_TOKEN"),
        ("darkroom.E007", {"HF_ENDPOINT": "huggingface.co"}, "'huggingface.co'"),
        ("darkroom.E008", {"DATA_DIR": Path("/dev/null/data")}, "/dev/null/data"),
        ("darkroom.E009", {"MEDIA_ROOT": Path("/dev/null/media")}, "/dev/null/media"),
        ("darkroom.E010", {"MODELS_DIR": Path("/dev/null/models")}, "/dev/null/models"),
        ("darkroom.E011", {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": ""}, "CELERY_BROKER_URL"),
        ("darkroom.E012", {"JOB_LEASE_SECONDS": 5, "JOB_HEARTBEAT_SECONDS": 5}, "JOB_LEASE_SECONDS (5)"),
        ("darkroom.E013", {"CORS_ORIGINS": ["https://app.example/"]}, "'https://app.example/'"),
        ("darkroom.E068", {"PUBLIC_URL": "pictures.example.com"}, "'pictures.example.com'"),
        ("darkroom.E068", {"PUBLIC_URL": "https://example.com/pictures"}, "no address that links can begin with"),
        ("darkroom.W068", {"PUBLIC_URL": "http://127.0.0.1:8000"}, "the receivers' own machines"),
        ("darkroom.W069", {"PUBLIC_URL": "https://pictures.example.com"}, "ALLOWED_HOSTS has no pictures.example.com"),
        ("darkroom.E014", {"MEDIA_ACCEL_PREFIX": "protected/"}, "'protected/'"),
        ("darkroom.E015", {"DEFAULT_CLIP_MODEL": "starter-clop"}, "starter-clip"),
        ("darkroom.E016", {"DEFAULT_CLIP_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E017", {"CHAT_REMOTE_URL": "gpu:8001"}, "'gpu:8001'"),
        ("darkroom.E018", {"DEFAULT_CHAT_MODEL": "phi-9"}, "phi-9"),
        ("darkroom.E019", {"DEFAULT_CHAT_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E020", {"DEFAULT_AESTHETIC_MODEL": "starter-nema"}, "starter-nima"),
        ("darkroom.E021", {"DEFAULT_AESTHETIC_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E025", {"DEFAULT_HAZARD_MODEL": "starter-hazard"}, "starter-hazards"),
        ("darkroom.E026", {"DEFAULT_HAZARD_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E023", {"DEFAULT_DETECTION_MODEL": "starter-detecter"}, "starter-detector"),
        ("darkroom.E024", {"DEFAULT_DETECTION_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E040", {"DEFAULT_UPSCALE_MODEL": "lanczo"}, "lanczos"),
        ("darkroom.E041", {"DEFAULT_UPSCALE_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E032", {"DEFAULT_OCR_MODEL": "pp-ocrs"}, "pp-ocr"),
        ("darkroom.E033", {"DEFAULT_OCR_MODEL": "starter"}, "text-to-image"),
        ("darkroom.E034", {"OCR_REMOTE_URL": "gpu:8080"}, "gpu:8080"),
        ("darkroom.E035", {"DEFAULT_OCR_MODEL": "remote-ocr"}, "OCR_REMOTE_URL"),
        ("darkroom.E036", {"OCR_REMOTE_LANGUAGES": ["en", "xx"]}, "'xx'"),
        ("darkroom.W006", {"CHAT_REMOTE_MODELS": ["there"], "CHAT_REMOTE_URL": ""}, "CHAT_REMOTE_URL"),
        ("darkroom.W007", {"DEFAULT_IMAGE_MODEL": "sdxl-base-1.0"}, "sdxl-base-1.0"),
        ("darkroom.E022", {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "mongodb://queue"}, "'mongodb'"),
        ("darkroom.E022", {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "localhost:6379"}, "no scheme"),
        ("darkroom.E022", {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "memory://"}, "no worker hears of it"),
        ("darkroom.E022", {"JOB_RUNNER": "celery", "CELERY_BROKER_URL": "redis://localhost:port/0"}, "its port is no number"),
        ("darkroom.E090", {"ALLOWED_HOSTS": ["https://a.example"]}, "'https://a.example'"),
        ("darkroom.E090", {"ALLOWED_HOSTS": ["*", "a.example:8000"]}, "'a.example:8000'"),
        ("darkroom.W090", {"SECRET_KEY": "short"}, "5 characters"),
        ("darkroom.W091", IN_A_FLEET, "no SECRET_KEY"),
        ("darkroom.E031", {"EXTRA_APPS": ["api.studio"]}, "is no view of REST framework"),
        ("darkroom.W008", {"ENV_FILE_LINES": {"DEVIEC": 3}, "ENV_FILE": Path("/here/.env")}, "/here/.env, line 3: "),
        ("darkroom.W001", {"HOST": "0.0.0.0"}, "ALLOWED_HOSTS"),
        ("darkroom.W002", {"HOST": "0.0.0.0", "DEBUG": True}, "DEBUG"),
        ("darkroom.W003", {"DEFAULT_IMAGE_MODEL": "flux.1-schnell"}, "flux.1-schnell"),
        ("darkroom.W004", {"MODEL_MEMORY_LIMIT": 10_000_000}, "MODEL_MEMORY_LIMIT"),
        ("darkroom.W005", {"JOB_LEASE_SECONDS": 8, "JOB_HEARTBEAT_SECONDS": 5}, "JOB_HEARTBEAT_SECONDS (5)"),
    ],
)
def test_a_wrong_setting_is_named_with_its_cure(settings: Any, identifier: str, wrong: dict[str, Any], named: str) -> None:
    for name, value in {"ALLOWED_HOSTS": settings.LOOPBACK_NAMES, **wrong}.items():
        setattr(settings, name, value)
    message = ours()[identifier]
    assert named in message.msg
    assert message.hint


def test_a_broker_whose_package_is_missing_is_an_error(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOB_RUNNER, settings.CELERY_BROKER_URL = "celery", "redis://localhost:6379/0"
    assert ours() == {}
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "kombu.transport.redis")  # as in a process that has not imported it yet
    assert "the Python package of the module 'redis' must be installed" in ours()["darkroom.E022"].msg


def test_a_default_model_that_makes_no_pictures_is_an_error(settings: Any, tmp_path: Path) -> None:
    settings.CATALOG_EXTRA = tmp_path / "catalog.toml"
    settings.CATALOG_EXTRA.write_text('[models.talker]\nrepo = "a/b"\ntask = "text-generation"\n')
    settings.DEFAULT_IMAGE_MODEL = "talker"
    assert "text-generation" in ours()["darkroom.E003"].msg


@pytest.mark.parametrize(
    "origin", ["*", "app.example", "https://*.example", "https://app.example:99999", "ftp://x", "https://a@b", "https://a?b"]
)
def test_what_is_no_origin(origin: str) -> None:
    assert not access_checks.is_origin(origin)


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:5173", "http://[::1]:3000"])
def test_what_is_an_origin(origin: str) -> None:
    assert access_checks.is_origin(origin)


def test_a_host_that_clients_can_name_is_no_warning(settings: Any) -> None:
    settings.HOST, settings.ALLOWED_HOSTS = "0.0.0.0", ["darkroom.example"]
    assert "darkroom.W001" not in ours()


@pytest.mark.skipif(sqlite3.sqlite_version_info >= checks.SQLITE_WITHOUT_WAL_BUG, reason="this SQLite has no such bug")
def test_an_old_sqlite_is_told_of_where_a_deployment_is_checked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert "darkroom.I001" in ours(deploy=True)
    assert "darkroom.I001" not in ours()


def test_the_names_of_the_memory_measures_are_the_loaders(settings: Any) -> None:
    assert set(model_checks.MEASURES) == set(MEASURES)
    settings.MEMORY_MEASURES = [*MEASURES, "-nf4_storage"]
    assert "darkroom.E005" not in ours()


def test_a_forced_storage_whose_package_is_missing_stops_the_start(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "find_spec", lambda package: None)
    settings.MEMORY_MEASURES = ["-int8_storage", "fp8_storage"]
    assert "darkroom.E092" not in ours()
    settings.MEMORY_MEASURES = ["nf4_storage"]
    assert "pip install bitsandbytes==" in ours()["darkroom.E092"].msg
    [told] = model_checks.check_default_model(ModelEntry(id="flux", name="FLUX", path=Path("/flux"), storage="int8"))
    assert (told.id, "pip install torchao==" in told.msg) == ("darkroom.E093", True)


def test_an_app_with_models_and_no_migrations_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EXTRA_APPS = ["api.library"]
    assert "darkroom.W009" not in ours()
    monkeypatch.setattr("api.system.checks.module_has_submodule", lambda *_: False)
    assert "library has models" in ours()["darkroom.W009"].msg
