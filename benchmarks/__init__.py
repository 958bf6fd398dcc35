"""Measurements, each a command: `python -m benchmarks.NAME`. They use the tests' packages."""

import importlib.util
import sys

if importlib.util.find_spec("httpx") is None:
    sys.exit(
        "The benchmarks need the tests' packages. This installs them: .venv/bin/python -m pip install -r requirements-dev.txt"
    )
