"""Where each part of a single file's pipeline comes from: the file, another file, the entry's base, or nowhere.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from api.catalog import ModelEntry
from api.downloads.permitted_files import components
from api.errors import DarkroomError
from api.loading.checkpoints import broken_error, class_of, is_model_class, read_json
from api.loading.single_files.components import (
    ALONE,
    DENOISERS,
    TEXT_ENCODERS,
    Place,
    find_places,
    place_of_encoder,
    place_of_vae,
    take,
)
from api.loading.single_files.configurations import adapt, configuration_folders, read_config, read_index
from api.model_files.gguf import read_any_header
from api.model_files.header import Header, HeaderError, TensorInfo
from api.model_files.identify import Identity, identify
from api.model_files.layouts import find_denoiser, find_vae
from api.model_files.usability import missing_part, vae_beside, why_no_checkpoint

CONFIGURED = "model_index.json"
OPTIONAL = {"sd3": ("text_encoder_3",)}
"""Parts that a pipeline does without."""


Source = tuple[Path, Place, Header]


@dataclass(frozen=True)
class FilePart:
    """A part of the pipeline whose weights lie in a single file."""

    name: str
    file: Path
    place: Place
    tensors: Mapping[str, TensorInfo]
    """Without the place's prefix."""
    model_class: Any
    config: dict[str, Any]
    header: Header


@dataclass(frozen=True)
class Plan:
    entry: ModelEntry
    file: Path
    identity: Identity
    folders: list[Path]
    """Of configurations: the base's, and ours."""
    index: dict[str, Any]
    parts: list[FilePart]
    base: Path | None
    base_parts: list[str]

    @cached_property
    def folder(self) -> Path:
        """The configurations that say which dtype each part is held in."""
        return self.folders[0]


def make_plan(entry: ModelEntry, file: Path, base: Path | None) -> Plan:
    """Reads headers only. Raises DarkroomError for what can't be loaded, in a sentence that says what to do."""
    header = open_header(entry, file)
    identity = identify(header, file.name)
    _check_usable(entry, file, identity)
    if base is not None and not (base / CONFIGURED).is_file():
        raise broken_error(entry, f"its base {entry.base} is no model in diffusers' form")
    folders = configuration_folders(identity.family, base)
    index = read_index(folders[0], identity)
    sources = {part: (file, place, header) for part, place in _places_in(header).items()}
    if vae := find_vae_file(entry, file):
        sources["vae"] = vae_source(entry, vae)
    sources |= encoder_sources(entry, identity.family)
    parts, base_parts = [], []
    for name in sorted(components(index)):
        model_class = class_of(*index[name])
        if name in sources:
            parts.append(_file_part(name, *sources[name], model_class, folders, identity.family))
        elif is_model_class(model_class) and name not in _left_out(identity, base):
            if base is None:
                raise _unsupported(entry, file, missing_part(file, name, identity.family))
            base_parts.append(name)
    return Plan(entry, file, identity, folders, index, parts, base, base_parts)


def plan_vae(entry: ModelEntry, folder: Path) -> FilePart:
    """The entry's own VAE, in the place of that of its folder in diffusers' form. Raises DarkroomError."""
    file = Path(entry.vae)
    if not file.is_file():
        raise no_vae_file(entry)
    index = read_json(folder / CONFIGURED)
    if "vae" not in components(index):
        raise broken_error(entry, "its pipeline has no VAE that `vae` could replace")
    _, place, header = vae_source(entry, file)
    config = read_config([folder], "vae")
    return FilePart("vae", file, place, take(header.tensors, place), class_of(*index["vae"]), config, header)


def open_header(entry: ModelEntry, file: Path) -> Header:
    try:
        return read_any_header(file)
    except (HeaderError, OSError) as error:
        raise DarkroomError("damaged", 422, f"The file {file.name} of {entry.name} is damaged: {error}.") from error


def find_vae_file(entry: ModelEntry, file: Path) -> Path | None:
    """The entry's own; or the one of the checkpoint's name beside it (`name.vae.safetensors`), as AUTOMATIC1111 takes it."""
    if entry.vae:
        vae = Path(entry.vae)
        if not vae.is_file():
            raise no_vae_file(entry)
        return vae
    return vae_beside(file) if vae_beside(file).is_file() else None


def no_vae_file(entry: ModelEntry) -> DarkroomError:
    return broken_error(entry, f"its `vae` {entry.vae} is no file that is there")


def _check_usable(entry: ModelEntry, file: Path, identity: Identity) -> None:
    if reason := why_no_checkpoint(identity):
        raise _unsupported(entry, file, reason)
    if entry.family and entry.family != identity.family:
        raise broken_error(entry, f"the catalog says that it is {entry.family}, and {file.name} is {identity.family}")


def _places_in(header: Header) -> dict[str, Place]:
    denoiser = find_denoiser(header.tensors)
    assert denoiser is not None  # else it has no family
    return find_places(header.tensors, denoiser, find_vae(header.tensors) if not denoiser.diffusers_names else None)


def vae_source(entry: ModelEntry, vae: Path) -> Source:
    header = open_header(entry, vae)
    place = place_of_vae(header.tensors)
    if place is None:
        raise broken_error(entry, f"its VAE {vae.name} has no decoder")
    return vae, place, header


def encoder_sources(entry: ModelEntry, family: str) -> dict[str, Source]:
    """The text encoders that the entry names, by the pipeline's names of them. Raises DarkroomError."""
    found: dict[str, Source] = {}
    for file in map(Path, entry.text_encoders):
        header = open_header(entry, file)
        place = place_of_encoder(header.tensors)
        part = next((part for part, usual in TEXT_ENCODERS[family].items() if usual == place), None)
        if part is None or part in found:
            reason = "is none that a model of its family has" if part is None else "is the second of its kind"
            raise broken_error(entry, f"its text encoder {file.name} {reason}")
        found[part] = (file, ALONE, header)
    return found


def _file_part(
    name: str, file: Path, place: Place, header: Header, model_class: Any, folders: list[Path], family: str
) -> FilePart:
    tensors = take(header.tensors, place)
    config = read_config(folders, name)
    if name == DENOISERS[family]:
        config = adapt(config, family, tensors)
    return FilePart(name, file, place, tensors, model_class, config, header)


def _left_out(identity: Identity, base: Path | None) -> tuple[str, ...]:
    """Parts that the pipeline is built without, where neither the file nor a base has them."""
    return OPTIONAL.get(identity.family, ()) if base is None else ()


def _unsupported(entry: ModelEntry, file: Path, reason: str) -> DarkroomError:
    return DarkroomError("unsupported_checkpoint", 422, f"{entry.name} can't be loaded from {file.name}: {reason}.")
