"""Python imports this by itself at its start where this folder is on PYTHONPATH. It makes HIDDEN_MODULES look not installed."""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

HIDDEN = set(filter(None, os.environ.get("HIDDEN_MODULES", "").split(",")))


class VisibleOnly(PathFinder):
    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return None if fullname.partition(".")[0] in HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path = [VisibleOnly if finder is PathFinder else finder for finder in sys.meta_path]
