"""Measurements, each a command: `python -m benchmarks.NAME`. All but `gpu` use the tests' packages."""

import sys
from types import TracebackType

INSTALL = "This installs what the benchmarks need: .venv/bin/python -m pip install -r requirements-dev.txt"


def explain_missing_package(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError):
        print(f"There is no package {error.name}. {INSTALL}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = explain_missing_package
