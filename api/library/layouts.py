"""Which folders of a library are searched: those of A1111 and Forge, of ComfyUI with its extra_model_paths.yaml, or a plain folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from api.library.models import Kind

EXTRA_PATHS = "extra_model_paths.yaml"
LONGEST_EXTRA_PATHS = 100_000
DEEPEST = 10
"""Levels of YAML: the file has two; PyYAML takes minutes for a line of 100,000 brackets."""
KIND_OF_FOLDER: dict[str, Kind] = {
    **dict.fromkeys(("stable-diffusion", "checkpoints"), Kind.CHECKPOINT),
    **dict.fromkeys(("unet", "diffusion_models"), Kind.DENOISER),
    **dict.fromkeys(("lora", "loras", "lycoris"), Kind.LORA),
    **dict.fromkeys(("vae", "vae_approx"), Kind.VAE),
    **dict.fromkeys(("clip", "text_encoder", "text_encoders"), Kind.TEXT_ENCODER),
    **dict.fromkeys(("clip_vision", "image_encoder"), Kind.IMAGE_ENCODER),
    **dict.fromkeys(("ipadapter", "ip_adapter"), Kind.IP_ADAPTER),
    **dict.fromkeys(("embeddings", "embedding"), Kind.EMBEDDING),
    **dict.fromkeys(("controlnet", "t2i_adapter"), Kind.CONTROLNET),
    **dict.fromkeys(("esrgan", "realesrgan", "swinir", "dat", "upscale_models"), Kind.UPSCALER),
}
"""By a folder's name in lower case: what its files are where they can't be opened. Also the keys of extra_model_paths.yaml."""


@dataclass
class Layout:
    """The folders of one of LIBRARY_DIRS, and sentences about what could not be read."""

    name: str
    folders: list[Path]
    problems: list[str] = field(default_factory=list)


def find_layout(root: Path) -> Layout:
    """Of a WebUI's or ComfyUI's own folder only the folders of models are searched, not its pictures and Python packages."""
    if (root / "models" / "Stable-diffusion").is_dir():
        return Layout("A1111 or Forge", present(root / "models", root / "embeddings"))
    if (root / "models" / "checkpoints").is_dir() or (root / EXTRA_PATHS).is_file():
        layout = Layout("ComfyUI", present(root / "models"))
        read_extra_paths(root / EXTRA_PATHS, layout)
        return layout
    return Layout("plain", [root])


def present(*folders: Path) -> list[Path]:
    return [folder for folder in folders if folder.is_dir()]


def kind_by_folder(path: str) -> Kind:
    """By the nearest folder whose name tells."""
    folders = Path(path).parts[-2::-1]
    return next((KIND_OF_FOLDER[name.lower()] for name in folders if name.lower() in KIND_OF_FOLDER), Kind.UNKNOWN)


# ---------------------------------------------------------------- extra_model_paths.yaml


class InvalidPaths(ValueError):
    """The message completes 'extra_model_paths.yaml …'."""


def read_extra_paths(file: Path, layout: Layout) -> None:
    """Adds the folders that it names, and a sentence for what it says wrong."""
    if not file.is_file():
        return
    try:
        document = read_yaml(file)
        named = list(named_folders(document, file.parent))
    except InvalidPaths as error:
        layout.problems.append(f"{file} {error}, so the folders that it names are not searched.")
        return
    for folder in dict.fromkeys(named):
        if folder.is_dir():
            layout.folders.append(folder)
        else:
            layout.problems.append(f"{file} names the folder {folder}, which is not there.")


def read_yaml(file: Path) -> Any:
    """Plain mappings, lists and texts. Raises InvalidPaths: an alias can make a few lines into gigabytes, a tag names a Python type."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LONGEST_EXTRA_PATHS + 1)
        if len(content) > LONGEST_EXTRA_PATHS:
            raise InvalidPaths(f"has more than {LONGEST_EXTRA_PATHS:,} bytes")
        text = content.decode("utf-8-sig")
        check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        return yaml.load(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise InvalidPaths(f"can't be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidPaths):
            raise
        mark = getattr(error, "problem_mark", None)
        raise InvalidPaths(f"is no YAML{f' (line {mark.line + 1})' if mark else ''}") from None


def check_events(events: Iterator[Any]) -> None:
    """Raises InvalidPaths for an alias, a tag, and for more levels than there can be."""
    depth = 0
    for event in events:
        line = event.start_mark.line + 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise InvalidPaths(f"is nested too deeply in line {line}")
        if isinstance(event, yaml.AliasEvent):
            raise InvalidPaths(f"has an alias (*{str(event.anchor)[:40]}) in line {line}, and aliases are not read")
        if tag := getattr(event, "tag", None):
            raise InvalidPaths(f"has a tag ({tag[:40]}) in line {line}, and tags are not read")


def named_folders(document: Any, base: Path) -> Iterator[Path]:
    """Relative ones count from the section's base_path, and that one from the file's own folder. Raises InvalidPaths."""
    if document is None:
        return
    if not isinstance(document, dict):
        raise InvalidPaths("is no table of sections")
    for title, section in document.items():
        if section is None:
            continue
        if not isinstance(section, dict):
            raise InvalidPaths(f"has a section {str(title)[:40]!r} that is no table")
        base_path = section.get("base_path") or ""
        if not isinstance(base_path, str):
            raise InvalidPaths(f"has a base_path in {str(title)[:40]!r} that is no text")
        for kind, folders in section.items():
            if str(kind).lower() in KIND_OF_FOLDER and isinstance(folders, str):
                yield from (join(base, base_path, line.strip()) for line in folders.splitlines() if line.strip())


def join(base: Path, *parts: str) -> Path:
    return Path(os.path.normpath(base.joinpath(*(os.path.expanduser(part) for part in parts))))
