"""What a diffusers folder lacks, read off its configurations and the headers of its weights.  [torch; no Django]

Diffusers and transformers fill in a missing tensor without a word: it is left without values, or drawn at random. Nothing here
reads weights, and models are only built without memory.
"""

from __future__ import annotations

import importlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from diffusers import ModelMixin
from transformers import CLIPTextModel, CLIPTextModelWithProjection, PreTrainedModel, T5EncoderModel

from api.catalog import ModelEntry
from api.downloads.snapshots import PICKLES, components
from api.errors import DarkroomError
from api.loading.memory import read_header

PLAIN_ENCODERS = (CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel)
"""Of transformers' models those whose files have the model's own names; others are renamed by rules that are not known here."""

Shapes = dict[str, tuple[int, ...]]


def check_checkpoint(entry: ModelEntry, folder: Path, files: Sequence[Path]) -> None:
    """`files` are the weights that a load would read. Raises DarkroomError, which names the component, the file and the key."""
    if not (folder / "model_index.json").is_file():
        raise _broken(entry, "its folder has no model_index.json, so it is no checkpoint in diffusers' form")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for name in sorted(components(index)):
        library, class_name = index[name]
        kind = getattr(importlib.import_module(library), str(class_name))
        if not (folder / name).is_dir():
            raise _broken(entry, f"it has no folder {name}")
        if isinstance(kind, type) and issubclass(kind, ModelMixin | PreTrainedModel):
            _check_component(entry, folder / name, kind, [file for file in files if file.parent.name == name])


def load_whole(kind: Any, entry: ModelEntry, folder: Path, **options: Any) -> Any:
    """transformers' `kind.from_pretrained`, where every tensor of the model is in the files. Raises DarkroomError, which names one."""
    model, info = kind.from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    if info["mismatched_keys"]:
        key, stored, wanted = min(info["mismatched_keys"])
        detail = f"the tensor {key} has the shape {list(stored)}, and config.json wants {list(wanted)}"
        raise _broken(entry, f"its weights do not fit its configuration: {detail}")
    if info["missing_keys"]:
        raise _broken(entry, f"its weights lack the tensor {min(info['missing_keys'])}")
    return model


def _check_component(entry: ModelEntry, place: Path, kind: Any, files: Sequence[Path]) -> None:
    if not (place / "config.json").is_file():
        raise _broken(entry, f"{place.name} has no config.json")
    if not files:
        raise _without_weights(entry, place)
    stored = _read_shapes(entry, files)
    model = _build_without_memory(entry, place, kind)
    if model is None:
        return
    wanted = {_plain(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    required = {_plain(key) for key, _ in model.named_parameters(remove_duplicate=False)}  # buffers are computed
    missing = sorted(required - _rename(model, stored).keys() - _spared(model, stored))
    where = f"{place.name}/{files[0].name}" if len(files) == 1 else f"{place.name} ({len(files)} files)"
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise _broken(entry, f"{where} lacks the tensor {missing[0]}{more}")
    for key, shape in _rename(model, stored).items():
        if wanted.get(key, shape) != shape:
            detail = f"the tensor {key} has the shape {list(shape)}, and config.json of {place.name} wants {list(wanted[key])}"
            raise _broken(entry, f"{where} does not fit its configuration: {detail}")


def _read_shapes(entry: ModelEntry, files: Iterable[Path]) -> Shapes:
    shapes: Shapes = {}
    for file in files:
        try:
            shapes |= {key: tuple(tensor["shape"]) for key, tensor in read_header(file).items()}
        except ValueError as error:
            detail = f"The file {file.parent.name}/{file.name} of {entry.name} is damaged: {error}."
            raise DarkroomError("damaged", 422, detail) from error
    return shapes


def _build_without_memory(entry: ModelEntry, place: Path, kind: Any) -> Any:
    """None where the names in its files can't be compared with the model's."""
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config or not issubclass(kind, (ModelMixin, *PLAIN_ENCODERS)):
        return None
    try:
        with init_empty_weights():  # as diffusers itself builds them
            return kind.from_config(config) if issubclass(kind, ModelMixin) else kind(kind.config_class.from_dict(config))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise _broken(entry, f"no {kind.__name__} can be made from config.json of {place.name}") from error


def _rename(model: Any, stored: Shapes) -> Shapes:
    """The file's tensors by the model's own names."""
    renamed: OrderedDict[str, tuple[int, ...]] = OrderedDict((_plain(key), shape) for key, shape in stored.items())
    if isinstance(model, ModelMixin):
        model._fix_state_dict_keys_on_load(renamed)  # an attention's names before diffusers 0.12
    return renamed


def _spared(model: Any, stored: Mapping[str, Any]) -> set[str]:
    """Names of tensors that are another one's twin: a file has one of the two."""
    twins = getattr(model, "_tied_weights_keys", None) or {}
    pairs = [(_plain(one), _plain(other)) for one, other in twins.items()] if isinstance(twins, dict) else []
    there = {_plain(key) for key in stored}
    return {name for pair in pairs for name in (pair if there.intersection(pair) else pair[:1])}


def _plain(key: str) -> str:
    """CLIP's text tower has lost its prefix in later versions of transformers."""
    return key.removeprefix("text_model.")


def _without_weights(entry: ModelEntry, place: Path) -> DarkroomError:
    pickled = sorted(file.name for file in place.iterdir() if PICKLES.search(file.name))
    if not pickled:
        return _broken(entry, f"{place.name} has no weights in safetensors form")
    return DarkroomError(
        "unsafe_files",
        422,
        f"{entry.name} can't be loaded: {place.name} has pickled weights only ({pickled[0]}), which can run code; only "
        "safetensors are read. Where you trust them, convert them once: DiffusionPipeline.from_pretrained(folder, "
        "use_safetensors=False).save_pretrained(folder).",
    )


def _broken(entry: ModelEntry, reason: str) -> DarkroomError:
    return DarkroomError("broken_model", 422, f"{entry.name} can't be loaded: {reason}.")
