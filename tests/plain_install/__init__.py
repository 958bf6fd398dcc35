"""Processes that see what `./start.sh` installs and nothing more: the packages that only requirements-dev.txt brings can't be imported.

subprocess.run([sys.executable, "manage.py", …], env={**os.environ, **plain_environment()})
"""

import re
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.live import ROOT

TOOLS = {"pip", "setuptools", "wheel"}  # of every virtual environment


def plain_environment() -> dict[str, str]:
    """Variables with which a Python process hides those packages from itself (sitecustomize.py beside this file)."""
    return {"PYTHONPATH": str(Path(__file__).parent), "HIDDEN_MODULES": ",".join(sorted(development_modules()))}


@cache
def development_modules() -> frozenset[str]:
    """Top-level modules of installed packages that requirements.txt needs neither itself nor by another package."""
    server = needed_by("requirements.txt") | TOOLS
    owners = {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}
    return frozenset(module for module, names in owners.items() if names.isdisjoint(server))


def needed_by(file: str) -> set[str]:
    """The packages that `pip install -r FILE` brings, from the metadata of those that are installed."""
    waiting, seen = read_requirements(ROOT / file), set()
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        asked = map(Requirement, requires(wanted.name) or [])
        waiting += [needed for needed in asked if applies(needed, wanted.extras)]
    return {name for name, _ in seen}


def read_requirements(file: Path) -> list[Requirement]:
    lines = (re.sub(r"\s*#.*", "", line) for line in file.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """On this system, to a package that is asked for with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
