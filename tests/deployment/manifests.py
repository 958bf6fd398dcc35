"""Kubernetes' manifests as they are written, before kustomize puts them together."""

from collections.abc import Iterator
from typing import Any

import yaml
from dotenv import dotenv_values

from tests.live import ROOT

FOLDER = ROOT / "config" / "kubernetes"
OVERLAYS = ("fleet", "small")


def documents() -> list[dict[str, Any]]:
    files = [path for path in sorted(FOLDER.glob("*/*.yaml")) if path.name != "kustomization.yaml"]
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents():
        if "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}/{container['name']}", container


def environment() -> dict[str, str]:
    """What a container of ours gets: the settings, and the Secret's example."""
    files = [FOLDER / "base" / "settings.env", FOLDER / "secrets.env.example"]
    return {name: value or "" for file in files for name, value in dotenv_values(file).items()}
