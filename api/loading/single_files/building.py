"""From a single file to a pipeline like one of diffusers' folders: the same components, classes, names and dtypes.  [torch; no Django]"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from transformers import CLIPTokenizer

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.permitted_files import components
from api.loading.checkpoints import build_empty, check_component, class_of, is_model_class, read_json
from api.loading.device_memory import bytes_in_dtype, estimate_files
from api.loading.dtypes import choose_dtypes
from api.loading.single_files.clip_tokenizer import make_clip_tokenizer
from api.loading.single_files.fitting import check_part
from api.loading.single_files.noise_schedules import make_noise_schedule
from api.loading.single_files.plan import FilePart, Plan, make_plan, plan_vae
from api.loading.single_files.t5_tokenizer import make_t5_tokenizer
from api.loading.single_files.weights import load_part
from api.loading.weight_files import installed_variant, weight_files

SCHEDULER = "scheduler"


def build_single_file(entry: ModelEntry, file: Path, device: Device, base: Path | None = None) -> DiffusionPipeline:
    """No network. Headers are checked against the models before weights are read. Raises DarkroomError.

    `base` is the folder of the entry's `base`: configurations come from it before ours, and the parts that the file lacks.
    """
    plan = make_plan(entry, file, base)
    dtypes = choose_dtypes(plan.folder, device)
    found = {name: None for name, value in plan.index.items() if isinstance(value, list)}
    found |= _load_parts(plan.entry, plan.parts, dtypes)
    found |= _load_from_base(plan, dtypes)
    found |= _make_others(plan)
    pipeline_class = class_of("diffusers", plan.index["_class_name"])
    _, optional = pipeline_class._get_signature_keys(pipeline_class)
    options = {name: plan.index[name] for name in optional if name in plan.index and name not in found}
    if "safety_checker" in found:
        found |= {"safety_checker": None}
        options["requires_safety_checker"] = False
    pipeline: DiffusionPipeline = pipeline_class(**found, **options)
    return pipeline


def estimate_single_file(entry: ModelEntry, file: Path, device: Device, base: Path | None = None) -> int:
    """Bytes of all parts once they are loaded. Raises DarkroomError for what can't be loaded."""
    plan = make_plan(entry, file, base)
    dtypes = choose_dtypes(plan.folder, device)
    size = sum(bytes_in_dtype(part.tensors.values(), dtypes.get(part.name, dtypes["default"])) for part in plan.parts)
    if base is None:
        return size
    files = [weights for weights in weight_files(base) if weights.parent.name in plan.base_parts]
    return size + sum(
        estimate_files(entry, base, [weights], dtypes.get(weights.parent.name, dtypes["default"])) for weights in files
    )


def load_vae(entry: ModelEntry, folder: Path, dtypes: dict[str, torch.dtype]) -> Any:
    """The VAE that the entry names, for its folder in diffusers' form. Raises DarkroomError."""
    return _load_parts(entry, [plan_vae(entry, folder)], dtypes)["vae"]


def _load_parts(entry: ModelEntry, parts: list[FilePart], dtypes: dict[str, torch.dtype]) -> dict[str, Any]:
    """All parts are checked before the weights of one are read."""
    models = {}
    for part in parts:
        models[part.name] = build_empty(entry, part.name, part.model_class, part.config)
        check_part(entry, part.file.name, part.name, part.place, part.tensors, models[part.name], part.config)
    return {
        part.name: load_part(entry, part, models.pop(part.name), dtypes.get(part.name, dtypes["default"])) for part in parts
    }


def _load_from_base(plan: Plan, dtypes: dict[str, torch.dtype]) -> dict[str, Any]:
    loaded: dict[str, Any] = {}
    for name in plan.base_parts if plan.base is not None else []:
        folder, model_class = plan.folder / name, class_of(*plan.index[name])
        check_component(plan.entry, folder, model_class, [file for file in weight_files(plan.folder) if file.parent == folder])
        loaded[name] = model_class.from_pretrained(
            folder,
            dtype=dtypes.get(name, dtypes["default"]),
            variant=installed_variant(plan.folder),
            use_safetensors=True,
            local_files_only=True,
        ).eval()
    return loaded


def _make_others(plan: Plan) -> dict[str, Any]:
    """The scheduler, and the tokenizers of the text encoders that there are."""
    made: dict[str, Any] = {}
    present = {part.name for part in plan.parts} | set(plan.base_parts)
    for name in components(plan.index):
        found = class_of(*plan.index[name])
        if name == SCHEDULER:
            made[name] = _make_scheduler(plan)
        elif not is_model_class(found) and name.replace("tokenizer", "text_encoder") in present:
            made[name] = _make_tokenizer(plan, name, found)
    return made


def _make_scheduler(plan: Plan) -> Any:
    folder = plan.folders[-1] if plan.identity.family == "flux" else plan.folder  # dev's schedule is not schnell's
    config = read_json(folder / SCHEDULER / "scheduler_config.json")
    class_name = read_json(folder / "model_index.json")[SCHEDULER][1]
    return make_noise_schedule(plan.entry, plan.identity, class_name, config)


def _make_tokenizer(plan: Plan, name: str, tokenizer_class: Any) -> Any:
    if plan.base is not None and (plan.base / name).is_dir():
        return tokenizer_class.from_pretrained(plan.base / name, local_files_only=True, trust_remote_code=False)
    if issubclass(tokenizer_class, CLIPTokenizer):
        return make_clip_tokenizer(plan.identity.family, name)
    return make_t5_tokenizer()
