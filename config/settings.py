"""Every setting, read from the environment or from .env (the environment wins). README has the table."""

import importlib.util
import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from api.catalog import PRECISIONS
from config.databases import read_database
from config.env import (
    env_address,
    env_bool,
    env_bytes,
    env_choice,
    env_devices,
    env_float,
    env_folders,
    env_int,
    env_list,
    env_path,
    env_quotas,
    env_seconds,
    env_secret,
    env_str,
    make_folder,
)
from config.env_file import read_env_file
from config.languages import compile_catalogs, find_languages
from config.logs import logging_config
from config.media import read_storages
from config.secret import read_or_make_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
ENV_FILE = env_path("ENV_FILE") or BASE_DIR / ".env"
ENV_FILE_LINES = read_env_file(ENV_FILE)  # the line of each name, for the check of unknown ones
# torch's threads sleep while they wait for each other: where anything else wants a core, spinning made a picture take 5-30 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Where everything that changes lives. With the default, the pictures are in the checkout's media/.
DATA_DIR = make_folder("DATA_DIR", env_path("DATA_DIR") or BASE_DIR / ".data")
MEDIA_ROOT = env_path("MEDIA_ROOT") or (DATA_DIR / "media" if env_str("DATA_DIR") else BASE_DIR / "media")
MODELS_DIR = env_path("MODELS_DIR") or DATA_DIR / "models"

DEBUG = env_bool("DEBUG", False)
SECRET_KEY_GIVEN = env_secret("SECRET_KEY")
SECRET_KEY = SECRET_KEY_GIVEN or read_or_make_secret_key(DATA_DIR / "secret_key")
HOST = env_str("HOST", "127.0.0.1")
PORT = env_int("PORT", 8000, low=1, high=65535)
WEB_PROCESSES = env_int("WEB_PROCESSES", 1, low=1, high=256)  # on this machine
# A web process that is asked to stop: so long /api/ready/ says 503 while it takes connections, and so long what it has begun may take then.
STOP_DELAY_SECONDS = env_int("STOP_DELAY_SECONDS", 0, low=0, high=300)
STOP_SECONDS = env_int("STOP_SECONDS", 20, low=2, high=3600)
LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", LOOPBACK_NAMES)
CORS_ORIGINS = env_list("CORS_ORIGINS")
CSRF_TRUSTED_ORIGINS = CORS_ORIGINS
BEHIND_TLS_PROXY = env_bool("BEHIND_TLS_PROXY", False)

DATABASES = {"default": read_database(env_address("DATABASE_URL"), DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Jobs
JOB_RUNNER = env_choice("JOB_RUNNER", "embedded", ["embedded", "external", "celery"])
WORKER_FACTORY = "api.system.worker_factory.make_prepared_worker"  # what makes a process of Celery's a worker of the queue
CELERY_BROKER_URL = env_address("CELERY_BROKER_URL")
SYNC_WAIT_SECONDS = env_int("SYNC_WAIT_SECONDS", 60, low=0, high=300)
JOB_LEASE_SECONDS = env_int("JOB_LEASE_SECONDS", 30, low=1, high=3600)
JOB_HEARTBEAT_SECONDS = env_int("JOB_HEARTBEAT_SECONDS", 5, low=1, high=600)
JOB_MAX_ATTEMPTS = env_int("JOB_MAX_ATTEMPTS", 5, low=1, high=100)
JOB_RETENTION_DAYS = env_int("JOB_RETENTION_DAYS", 0, low=0, high=36500)  # 0: kept for ever
EVENT_RETENTION_HOURS = env_int("EVENT_RETENTION_HOURS", 24, low=1, high=87600)
MAX_QUEUED_JOBS = env_int("MAX_QUEUED_JOBS", 10_000, low=1, high=10_000_000)
MAX_ACTIVE_JOBS_PER_KEY = env_int("MAX_ACTIVE_JOBS_PER_KEY", 1_000, low=1, high=10_000_000)
MAX_UPLOADS_PER_KEY = env_int("MAX_UPLOADS_PER_KEY", 1_000, low=1, high=10_000_000)
KEY_QUOTAS = env_quotas("KEY_QUOTAS")  # of every key that has none of its own
MAX_BATCH = env_int("MAX_BATCH", 4, low=1, high=64)
PLACEMENT_SECONDS = env_int("PLACEMENT_SECONDS", 5, low=0, high=3600)  # how long a job is left to a worker that holds its model
WORKER_DEVICES = env_devices("WORKER_DEVICES")  # one embedded worker for each: auto, or of cpu, mps, cuda:0, cuda:1 ...
JOB_STUCK_SECONDS = env_int("JOB_STUCK_SECONDS", 600, low=10, high=86400)

# Webhooks
PUBLIC_URL = env_str("PUBLIC_URL").rstrip(
    "/"
)  # what links in webhooks begin with; empty: the address that the request was sent to
WEBHOOK_ALLOW_PRIVATE = env_bool("WEBHOOK_ALLOW_PRIVATE", False)  # receivers on this machine and in private networks
WEBHOOK_RETRY_SECONDS = env_seconds("WEBHOOK_RETRY_SECONDS", [5, 300, 1800, 7200, 18_000, 36_000])  # after each try that fails
WEBHOOK_RETENTION_DAYS = env_int("WEBHOOK_RETENTION_DAYS", 30, low=1, high=36500)

# Models
LOAD_MODELS = env_bool("LOAD_MODELS", True)  # false: a worker without torch, for kinds of job that need none
DEVICE = env_choice("DEVICE", "auto", ["auto", "cuda", "mps", "cpu"])
DEFAULT_IMAGE_MODEL = env_str("DEFAULT_IMAGE_MODEL", "starter")
DEFAULT_AESTHETIC_MODEL = env_str("DEFAULT_AESTHETIC_MODEL", "starter-nima")
DEFAULT_CLIP_MODEL = env_str("DEFAULT_CLIP_MODEL", "starter-clip")
PROMPT_SCORES = env_bool("PROMPT_SCORES", True)  # each picture that is made gets the score of its prompt
DEFAULT_DETECTION_MODEL = env_str("DEFAULT_DETECTION_MODEL", "starter-detector")
DEFAULT_HAZARD_MODEL = env_str("DEFAULT_HAZARD_MODEL", "starter-hazards")
DEFAULT_UPSCALE_MODEL = env_str("DEFAULT_UPSCALE_MODEL", "starter-upscaler")
DEFAULT_CUTOUT_MODEL = env_str("DEFAULT_CUTOUT_MODEL", "starter-cutout")
DEFAULT_OCR_MODEL = env_str("DEFAULT_OCR_MODEL", "pp-ocr")  # or remote-ocr
OCR_REMOTE_URL = env_str("OCR_REMOTE_URL")  # a PaddleOCR server (PaddleX serving), for example http://gpu:8080
OCR_REMOTE_KEY = env_secret("OCR_REMOTE_KEY")
OCR_REMOTE_LANGUAGES = env_list("OCR_REMOTE_LANGUAGES", ["en", "zh"])  # what its models read: it can't be asked
DEFAULT_CHAT_MODEL = env_str("DEFAULT_CHAT_MODEL", "starter-vlm")
USE_LOCAL_MODELS = env_bool("USE_LOCAL_MODELS", True)
REMOTE_TIMEOUT_SECONDS = env_int("REMOTE_TIMEOUT_SECONDS", 120, low=1, high=3600)
HF_TOKEN = env_secret("HF_TOKEN")
HF_ENDPOINT = env_str("HF_ENDPOINT")
HF_PROVIDER = env_str("HF_PROVIDER")  # empty: the hub chooses
HF_INFERENCE_ENDPOINT = env_str("HF_INFERENCE_ENDPOINT")
CHAT_SLOTS = env_int("CHAT_SLOTS", 8, low=1, high=256)  # answers that a worker writes at the same time with one model
CHAT_MAX_TOKENS = env_int("CHAT_MAX_TOKENS", 1024, low=1, high=1_000_000)  # of an answer whose request names no limit
# What is kept of chats that end, of each model in memory, so that the next turn is read from there; 0 keeps nothing.
CHAT_PREFIX_CACHE_BYTES = env_bytes("CHAT_PREFIX_CACHE_BYTES", 512 * 2**20, low=0) or 0
CHAT_IMAGE_CACHE_BYTES = env_bytes("CHAT_IMAGE_CACHE_BYTES", 64 * 2**20, low=0) or 0
CHAT_PRECISION = env_choice("CHAT_PRECISION", "auto", PRECISIONS)  # of chat models whose catalog entry names none
CHAT_REMOTE_SLOTS = env_int("CHAT_REMOTE_SLOTS", 32, low=1, high=1024)  # chats under way on the remote server, of each model
CHAT_REMOTE_URL = env_str("CHAT_REMOTE_URL")  # any OpenAI-compatible server, for example http://gpu:8001/v1
CHAT_REMOTE_KEY = env_secret("CHAT_REMOTE_KEY")
CHAT_REMOTE_MODELS = env_list("CHAT_REMOTE_MODELS")  # what is asked of it beside the catalog's models
CATALOG_EXTRA = env_path("CATALOG_EXTRA")
# Folders of model files as A1111, Forge and ComfyUI keep them; where none is named, models/ in the checkout, if it is there.
LIBRARY_DIRS = env_folders("LIBRARY_DIRS") or [folder for folder in [BASE_DIR / "models"] if folder.is_dir()]
LIBRARY_FOLLOW_LINKS = env_bool("LIBRARY_FOLLOW_LINKS", False)  # links that lead out of these folders
LIBRARY_SCAN_SECONDS = env_int("LIBRARY_SCAN_SECONDS", 60, low=1, high=86400)  # between two scans
MODEL_MEMORY_LIMIT = env_bytes("MODEL_MEMORY_LIMIT", None)
MEMORY_MEASURES = env_list("MEMORY_MEASURES")
"""Forced: vae_slicing, vae_tiling, attention_slicing, cpu_offload, group_offload, fp8_storage, int8_storage, nf4_storage; with a minus
in front, as in -nf4_storage: never taken unasked."""
IMAGE_GRAPHS = env_choice("IMAGE_GRAPHS", "auto", ("auto", "off"))  # denoisers as CUDA graphs; as traces on a CPU
IMAGE_COMPILE = env_choice("IMAGE_COMPILE", "off", ("off", "regional"))  # denoisers' blocks compiled, where there is CUDA
PROMPT_SYNTAX = env_choice("PROMPT_SYNTAX", "compel", ("compel", "a1111", "plain", "auto"))
"""For requests that name no prompt_syntax."""
IMAGE_METADATA = env_bool("IMAGE_METADATA", True)

# Safety and provenance
PICTURE_CHECK = env_bool("PICTURE_CHECK", False)  # of all finished pictures; keys may differ (the admin)
PICTURE_CHECK_MODEL = env_str("PICTURE_CHECK_MODEL", "nsfw-image-detection")
PICTURE_CHECK_LABELS = env_list("PICTURE_CHECK_LABELS", ["nsfw"])  # the model's classes that are withheld
PICTURE_CHECK_THRESHOLD = env_float("PICTURE_CHECK_THRESHOLD", 0.5, low=0, high=1)
C2PA_CERTIFICATE = env_path("C2PA_CERTIFICATE")  # PEM, the signer's certificate first, then those that vouch for it
C2PA_PRIVATE_KEY = env_path("C2PA_PRIVATE_KEY")

# Limits of what a client may send
MAX_BODY_BYTES = env_bytes("MAX_BODY_BYTES", 32 * 2**20) or 0
MAX_IMAGE_PIXELS = env_int("MAX_IMAGE_PIXELS", 25_000_000, low=10_000, high=1_000_000_000)
MAX_UPSCALED_PIXELS = env_int("MAX_UPSCALED_PIXELS", 8192 * 8192, low=10_000, high=1_000_000_000)  # of what upscalers make
MIN_FREE_DISK_BYTES = env_bytes("MIN_FREE_DISK_BYTES", 512 * 2**20) or 0
ALLOW_IMAGE_URLS = env_bool("ALLOW_IMAGE_URLS", False)
MEDIA_ACCEL_PREFIX = env_str("MEDIA_ACCEL_PREFIX")
MEDIA_DELIVERY = env_choice("MEDIA_DELIVERY", "server", ["server", "signed"])
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200  # 64 pictures as text and 64 prompts are one request
DATA_UPLOAD_MAX_NUMBER_FILES = 64

EXTRA_APPS = env_list("EXTRA_APPS")  # an owner's own capabilities: Django apps that register job kinds
for app in EXTRA_APPS:
    if importlib.util.find_spec(app.partition(".")[0]) is None:
        raise ImproperlyConfigured(
            f"EXTRA_APPS names {app!r}, which can't be imported from here: install it, or correct the name."
        )
INSTALLED_APPS = [
    "api.system",  # before admin and staticfiles: its runserver and its admin index win
    "config.apps.DarkroomAdminConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "api.jobs",
    "api.access",
    "api.files",
    "api.library",
    "api.webhooks",
    "api.safety",
    "api.images",
    "api.scoring",
    "api.vision",
    "api.chat",
    "api.dialects",
    "api.studio",
    "api.starter",
    *EXTRA_APPS,
]
# Every one of these is native to async, or runs for pages only (config/middleware.py): a waiting request holds no thread.
MIDDLEWARE = [
    "config.middleware.request_id_middleware",
    "api.system.middleware.metrics_middleware",
    "config.middleware.static_files_middleware",
    "api.access.middleware.cors_middleware",
    "config.middleware.language_middleware",
    "config.middleware.SecurityForPages",
    "config.middleware.SessionsForPages",
    "config.middleware.CommonForPages",
    "config.middleware.CsrfForPages",
    "config.middleware.AuthenticationForPages",
    "config.middleware.MessagesForPages",
    "config.middleware.FramesForPages",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
LANGUAGE_CODE = (
    "en"  # of the API, the logs, the admin and the commands; the studio's pages: config.middleware.language_middleware
)
LANGUAGES = find_languages(BASE_DIR / "locale")
LOCALE_PATHS = [compile_catalogs(BASE_DIR / "locale", DATA_DIR / "locale")]
LANGUAGE_COOKIE_NAME = "language"
LANGUAGE_COOKIE_AGE = 31_536_000
LANGUAGE_COOKIE_SAMESITE = "Lax"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"
STATIC_URL = "/static/"
STATIC_ROOT = make_folder("DATA_DIR", DATA_DIR / "static")
STORAGES = {
    **read_storages(),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# WhiteNoise serves straight from the apps' folders: no collectstatic before the first page.
WHITENOISE_USE_FINDERS = True

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = SECURE_SSL_REDIRECT = BEHIND_TLS_PROXY
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS_PROXY else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS_PROXY else None
X_FRAME_OPTIONS = "DENY"
# Over plain HTTP on one's own machine these warnings of `check --deploy` ask for what only TLS gives.
SILENCED_SYSTEM_CHECKS = (
    [] if BEHIND_TLS_PROXY else ["security.W004", "security.W008", "security.W010", "security.W012", "security.W016"]
)
# These look for Django's own classes by name; ours are their subclasses (SecurityForPages, FramesForPages, CsrfForPages).
SILENCED_SYSTEM_CHECKS += ["security.W001", "security.W002", "security.W003"]
SILENCED_SYSTEM_CHECKS += ["security.W005", "security.W021"]  # HSTS for subdomains and preload: the owner's to decide

# Traces: see api/tracing.py. The SDK reads its other variables (OTEL_*) itself.
OTEL_TRACES_EXPORTER = env_choice("OTEL_TRACES_EXPORTER", "none", ["none", "otlp"])
if OTEL_TRACES_EXPORTER == "otlp":
    MIDDLEWARE.insert(0, "config.tracing.tracing_middleware")

LOGGING = logging_config(
    env_choice("LOG_FORMAT", "auto", ["auto", "text", "json"]),
    env_choice("LOG_LEVEL", "info", ["debug", "info", "warning", "error", "critical"]).upper(),
)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.access.authentication.PrincipalAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["api.access.permissions.HasScope"],
    "DEFAULT_PARSER_CLASSES": [
        "api.strict.JsonParser",
        "api.form_data.MultiPartParser",
        "api.form_data.FormParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.strict.AlwaysJson",
    "DEFAULT_SCHEMA_CLASS": "api.system.openapi_generator.DarkroomSchema",
    "EXCEPTION_HANDLER": "api.problems.problem_handler",
    "DEFAULT_THROTTLE_CLASSES": ["api.queries.KnownParameters"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "ENUM_NAME_OVERRIDES": {
        "PreprocessorEnum": "api.images.control.use.PREPROCESSORS",
        "OpenAIListEnum": ["list"],
        "ControlKindEnum": "api.catalog.control_kinds.CONTROL_KINDS",
    },
    "TITLE": "Darkroom",
    "DESCRIPTION": "Makes pictures, judges them and talks about them; every request is a job in a history.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_PERMISSIONS": ["api.access.permissions.HasScope"],
    "SCHEMA_PATH_PREFIX": "/api/",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.dialects.mcp.openapi.add_mcp",
        "api.system.openapi_generator.add_event_stream",
        "api.system.openapi_generator.share_repeated",
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,  # a value's label is the value, in capitals
}
