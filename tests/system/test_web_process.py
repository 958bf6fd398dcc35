"""What a web process must not load: it stays small and quick, and the worker alone owns the models."""

import json
import subprocess
import sys

from django.conf import settings

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "onnxruntime",
    "compel",
    "numpy.linalg",
    "scipy",
    "cv2",
    "mcp",
    "starlette",
    "uvicorn",
)
TOUCH_EVERYTHING = """
import importlib, json, sys
import config.asgi
from django.conf import settings
from django.urls import get_resolver

def walk(patterns):
    for pattern in patterns:
        walk(getattr(pattern, "url_patterns", []))

walk(get_resolver().url_patterns)
for app in settings.INSTALLED_APPS:
    for room in ("admin", "handler", "serializers", "views"):
        try:
            importlib.import_module(f"{app}.{room}")
        except ModuleNotFoundError as error:
            if error.name not in (f"{app}.{room}", app):
                raise
from api.system.model_list import ModelList
from api.system.selectors import model_store
model_store()
print(json.dumps(sorted(sys.modules)))
"""


def test_a_web_process_never_imports_a_models_library() -> None:
    command = [sys.executable, "-c", TOUCH_EVERYTHING]
    loaded = json.loads(subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, check=True, text=True).stdout)
    assert "api.system.views" in loaded
    assert [name for name in loaded if name in HEAVY] == []
