"""Checks a diffusers folder for missing tensors and wrong shapes, by its configurations and weight headers.  [torch; no Django]

Diffusers and transformers silently leave a missing tensor uninitialized or random. Weights are not read here, and models are built on
the meta device only.
"""

from __future__ import annotations

import importlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin
from transformers import CLIPTextModel, CLIPTextModelWithProjection, PreTrainedModel, T5EncoderModel

from api.catalog import ModelEntry
from api.downloads.permitted_files import PICKLES, components
from api.errors import DarkroomError
from api.model_files.header import HeaderError, read_header

PLAIN_ENCODERS = (CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel)
"""Of transformers' models those whose files have the model's own names; others are renamed by rules that are not known here."""

Shapes = dict[str, tuple[int, ...]]


def check_checkpoint(entry: ModelEntry, folder: Path, files: Sequence[Path]) -> None:
    """`files` are the weights that a load would read. Raises DarkroomError, which names the component, the file and the key."""
    if not (folder / "model_index.json").is_file():
        raise broken_error(entry, "its folder has no model_index.json, so it is no checkpoint in diffusers' form")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for name in sorted(components(index)):
        library, class_name = index[name]
        model_class = class_of(library, class_name)
        if not (folder / name).is_dir():
            raise broken_error(entry, f"it has no folder {name}")
        if is_model_class(model_class):
            check_component(entry, folder / name, model_class, [file for file in files if file.parent.name == name])


def class_of(library: str, class_name: str) -> Any:
    """A class that a model_index.json names."""
    return getattr(importlib.import_module(library), class_name)


def is_model_class(found: object) -> bool:
    """Whether it has weights."""
    return isinstance(found, type) and issubclass(found, ModelMixin | PreTrainedModel)


def load_complete(model_class: Any, entry: ModelEntry, folder: Path | None, **options: Any) -> Any:
    """transformers' `model_class.from_pretrained`, where every tensor of the model is in the files, or in `state_dict` without a folder.

    Raises DarkroomError.
    """
    model, info = model_class.from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    if info["mismatched_keys"]:
        key, stored, wanted = min(info["mismatched_keys"])
        detail = f"the tensor {key} has the shape {list(stored)}, and config.json wants {list(wanted)}"
        raise broken_error(entry, f"its weights do not fit its configuration: {detail}")
    if info["missing_keys"]:
        raise broken_error(entry, f"its weights lack the tensor {min(info['missing_keys'])}")
    return model


def check_component(entry: ModelEntry, component_folder: Path, model_class: object, files: Sequence[Path]) -> None:
    if not (component_folder / "config.json").is_file():
        raise broken_error(entry, f"{component_folder.name} has no config.json")
    if not files:
        raise _missing_weights_error(entry, component_folder)
    stored = _read_shapes(entry, files)
    model = _build_on_meta_device(entry, component_folder, model_class)
    if model is None:
        return
    wanted = {_without_clip_prefix(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    required = {_without_clip_prefix(key) for key, _ in model.named_parameters(remove_duplicate=False)}  # buffers are computed
    missing = sorted(required - _rename(model, stored).keys() - tied_names(model, stored))
    where = f"{component_folder.name}/{files[0].name}" if len(files) == 1 else f"{component_folder.name} ({len(files)} files)"
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise broken_error(entry, f"{where} lacks the tensor {missing[0]}{others}")
    for key, shape in _rename(model, stored).items():
        if wanted.get(key, shape) != shape:
            detail = f"the tensor {key} has the shape {list(shape)}, and config.json of {component_folder.name} wants {list(wanted[key])}"
            raise broken_error(entry, f"{where} does not fit its configuration: {detail}")


def _read_shapes(entry: ModelEntry, files: Iterable[Path]) -> Shapes:
    shapes: Shapes = {}
    for file in files:
        try:
            shapes |= {key: tensor.shape for key, tensor in read_header(file).tensors.items()}
        except HeaderError as error:
            detail = f"The file {file.parent.name}/{file.name} of {entry.name} is damaged: {error}."
            raise DarkroomError("damaged", 422, detail) from error
    return shapes


def _build_on_meta_device(entry: ModelEntry, component_folder: Path, model_class: Any) -> Any:
    """None where the names in its files can't be compared with the model's."""
    config = json.loads((component_folder / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config or not issubclass(model_class, (ModelMixin, *PLAIN_ENCODERS)):
        return None
    return build_empty(entry, component_folder.name, model_class, config)


def build_empty(entry: ModelEntry, component: str, model_class: Any, config: Mapping[str, Any]) -> Any:
    """The model without weights: its parameters are on the meta device. Raises DarkroomError where the configuration is wrong."""
    try:
        with init_empty_weights():  # as diffusers itself builds them
            return (
                model_class.from_config(config)
                if issubclass(model_class, ModelMixin)
                else model_class(model_class.config_class.from_dict(dict(config)))
            )
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise broken_error(entry, f"no {model_class.__name__} can be made from config.json of {component}") from error


def _rename(model: object, stored: Shapes) -> Shapes:
    """The file's tensors by the model's own names."""
    renamed: OrderedDict[str, tuple[int, ...]] = OrderedDict(
        (_without_clip_prefix(key), shape) for key, shape in stored.items()
    )
    if isinstance(model, ModelMixin):
        model._fix_state_dict_keys_on_load(renamed)  # an attention's names before diffusers 0.12
    return renamed


def tied_names(model: object, stored: Mapping[str, object]) -> set[str]:
    """Names of tensors that are another one's twin: a file has one of the two."""
    tied = getattr(model, "_tied_weights_keys", None) or {}
    pairs = (
        [(_without_clip_prefix(one), _without_clip_prefix(other)) for one, other in tied.items()]
        if isinstance(tied, dict)
        else []
    )
    stored_keys = {_without_clip_prefix(key) for key in stored}
    return {name for pair in pairs for name in (pair if stored_keys.intersection(pair) else pair[:1])}


def _without_clip_prefix(key: str) -> str:
    """CLIP's text tower has lost its prefix in later versions of transformers."""
    return key.removeprefix("text_model.")


def _missing_weights_error(entry: ModelEntry, component_folder: Path) -> DarkroomError:
    pickled = sorted(file.name for file in component_folder.iterdir() if PICKLES.search(file.name))
    if not pickled:
        return broken_error(entry, f"{component_folder.name} has no weights in safetensors form")
    return DarkroomError(
        "unsafe_files",
        422,
        f"{entry.name} can't be loaded: {component_folder.name} has pickled weights only ({pickled[0]}), which can run code; only "
        "safetensors are read. Where you trust them, convert them once: DiffusionPipeline.from_pretrained(folder, "
        "use_safetensors=False).save_pretrained(folder).",
    )


def check_numbers(entry: ModelEntry, file_name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Of a network that is read whole. Raises DarkroomError."""
    if strange := next((name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()), None):
        raise broken_error(entry, f"the tensor {strange} in {file_name} has values that are not numbers")


def broken_error(entry: ModelEntry, reason: str) -> DarkroomError:
    return DarkroomError("broken_model", 422, f"{entry.name} can't be loaded: {reason}.")


def read_json(file: Path) -> dict[str, Any]:
    """{} where there is no such file."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
