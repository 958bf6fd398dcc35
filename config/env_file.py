"""The file .env. A line that can't be read stops the start; a name that no setting has is told by a system check."""

import difflib
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv
from dotenv.parser import parse_stream

# Read outside the settings: by a command, by a library, by compose, by the tests.
OTHER_NAMES = {
    "ADMIN_PASSWORD",
    "ADMIN_PASSWORD_FILE",
    "ENV_FILE",
    "FRONT",
    "GPU",
    "LISTEN",
    "MEMORY_LIMIT",
    "POSTGRES_PASSWORD",
    "TEST_DATABASE_URL",
    "TORCH_INDEX",
    "VALKEY_PASSWORD",
    "GUNICORN_CMD_ARGS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "TZ",
}
LIBRARY_PREFIXES = (
    "AWS_", "CELERY_", "COMPOSE_", "CUDA_", "GLOO_", "HF_", "KMP_", "MKL_", "NCCL_", "NVIDIA_", "OMP_", "OPENBLAS_", "OTEL_", "ORT_",
    "PG", "PIP_", "PYTHON", "PYTORCH_", "REQUESTS_", "SSL_", "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "XDG_",
)  # fmt: skip
MISTYPED = 0.8
"""From this similarity on a name is taken for a mistyped setting, although a library's names begin so."""
SURELY_MISTYPED = 0.9
"""In the environment, which has the names of all programs."""
OTHERS = {"WEB_CONCURRENCY": "WEB_PROCESSES"}
"""What gunicorn reads where nothing else is set, and what is set here."""


def read_env_file(path: Path) -> dict[str, int]:
    """Puts the file's variables into the environment, which wins. Returns the line of each name; nothing where there is no file.

    Raises ImproperlyConfigured for a file or a line that can't be read; it names the line and never shows it, as it may hold a secret.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ImproperlyConfigured(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{path} is not UTF-8 text; save it as that.") from None
    names = {}
    for binding in parse_stream(StringIO(text)):
        blank_lines = len(binding.original.string) - len(binding.original.string.lstrip("\r\n"))
        line = binding.original.line + blank_lines
        if binding.error or (binding.key is not None and binding.value is None):
            raise ImproperlyConfigured(f"{path}, line {line}, is not of the form NAME=value. Correct it, or begin it with '#'.")
        if binding.key is not None:
            names[binding.key] = line
    load_dotenv(stream=StringIO(text), override=False)
    return names


def unknown_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Those that nothing here reads, each with the most similar setting ('' where none is similar)."""
    settings = sorted(known)
    unknown = {}
    for name in names:
        if name in settings or name.upper() in OTHER_NAMES:
            continue
        likely = difflib.get_close_matches(name.upper(), settings, n=1, cutoff=MISTYPED)
        if likely or not name.startswith(LIBRARY_PREFIXES):
            unknown[name] = next(iter(likely or difflib.get_close_matches(name.upper(), settings, n=1)), "")
    return unknown


def mistyped_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Those of the environment that are nearly a setting's name, each with that."""
    settings = set(known)
    others = (name for name in names if name.isupper() and name not in settings and name not in OTHER_NAMES)
    likely = {name: OTHERS.get(name) or nearest(name, settings) for name in others}
    return {name: setting for name, setting in likely.items() if setting}


def nearest(name: str, settings: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, settings, n=1, cutoff=SURELY_MISTYPED)), "")
