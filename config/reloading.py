"""SIGHUP to gunicorn: its main process reads our code and .env again, since the new web processes begin as copies of it.

gunicorn runs its configuration file again, but Python would hand that the modules of the start.
"""

import logging
import os
import sys
from importlib import import_module
from types import ModuleType

log = logging.getLogger("gunicorn.error")
_given: dict[str, str] = {}
"""The environment before .env was read, which wins over it."""


def read_settings() -> ModuleType:
    """`config.settings`, anew. Where it can't be read any more, the old ones stay: nobody is served by a main process that ends."""
    if not _given:
        _given.update(os.environ)
        return import_module("config.settings")
    modules, variables = forget()
    try:
        return import_module("config.settings")
    except Exception as error:
        forget()
        sys.modules.update(modules)
        os.environ.update(variables)
        log.error("The old settings stay: %s", error)
        return modules["config.settings"]


def forget() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """Our modules, and what .env has put into the environment."""
    modules = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)}
    lines = getattr(modules.get("config.settings"), "ENV_FILE_LINES", {})
    return modules, {name: os.environ.pop(name) for name in lines if name in os.environ and name not in _given}


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("api", "config") and name not in ("config", __name__)
