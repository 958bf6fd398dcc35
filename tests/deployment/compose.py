"""Compose's files as compose reads them: merges applied, variables put in, and every key and value known to the Compose specification."""

import re
from collections.abc import Mapping
from typing import Any

import compose_spec
import yaml

from tests.live import ROOT

FILES = ("docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.fleet.yml")
VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::(?P<how>[-?])(?P<text>[^}]*))?\})")


def required(file: str) -> set[str]:
    """The variables without which compose doesn't start."""
    return {match["name"] for match in VARIABLE.finditer((ROOT / file).read_text()) if match["how"] == "?"}


def read(file: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Raises ValueError for what the specification doesn't have, and KeyError for a variable that is needed."""
    document: dict[str, Any] = put_in(yaml.safe_load((ROOT / file).read_text()), variables)
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(document)).validate()
    return document


def put_in(part: Any, variables: Mapping[str, str]) -> Any:
    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        return variables[match["name"]] if match["how"] == "?" else variables.get(match["name"], match["text"] or "")

    if isinstance(part, dict):
        return {name: put_in(each, variables) for name, each in part.items()}
    if isinstance(part, list):
        return [put_in(each, variables) for each in part]
    return VARIABLE.sub(value, part) if isinstance(part, str) else part
