"""Memory of models: classification of errors, sizes of weights, and memory measures.  [torch; no Django]

Which measure is taken when is in api/loading/oom_retry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from api.catalog import ModelEntry
from api.catalog.storages import STORAGE_MEASURES
from api.devices import Device
from api.errors import DarkroomError, DeviceFault
from api.loading.few_bits import (
    DENOISERS,
    is_in_blocks,
    is_packed,
    layers_in_fp8,
    layers_to_pack,
    pack_layers,
    packed_bytes,
    plain_tensors,
)
from api.model_files.header import HeaderError, TensorInfo, read_header

MEASURES = {
    "vae_slicing": "The VAE decoded one picture at a time.",
    "vae_tiling": "The VAE decoded the picture in tiles.",
    "attention_slicing": "Attention was computed in slices, which is slower.",
    "cpu_offload": "Parts of the model were kept in main memory, which is slower.",
    "group_offload": "The model's layers were kept in main memory and brought to the device one after the other, which is much slower.",
    "fp8_storage": "The model's weights were kept in 8 bits, as they don't fit into memory otherwise: details may differ.",
    "int8_storage": "The model's weights were kept in 8 bits (int8), as they don't fit into memory otherwise: small details may differ.",
    "nf4_storage": "The model's weights were kept in 4 bits (nf4), as they don't fit into memory otherwise: pictures differ.",
}
"""Every measure (MEMORY_MEASURES can force them), with the sentence for the job's warnings."""

TensorBytes = Callable[[Mapping[str, TensorInfo], torch.dtype], int]
"""The bytes that a file's tensors take in a dtype."""
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}

OUT_OF_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "status_alloc_failed")
FAULT_SIGNS = ("cuda error", "cudnn error", "cublas_status", "cusolver_status", "hip error", "device-side assert")


class OutOfMemory(DarkroomError):
    def __init__(self, detail: str) -> None:
        super().__init__("out_of_memory", 507, detail)


def loading_error_of(error: Exception, name: str) -> DarkroomError:
    """broken_model, or missing_package with the library's own message."""
    if isinstance(error, ImportError):
        return DarkroomError("missing_package", 500, f"{name} can't be loaded: {' '.join(str(error).split())}")
    return DarkroomError("broken_model", 422, f"{name} can't be loaded: its files don't fit together.")


def classify_error(error: BaseException) -> Literal["oom", "fault", "error"]:
    """Out of memory, a device fault, or an ordinary error, by the exception and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if isinstance(cause, (MemoryError, torch.OutOfMemoryError, OutOfMemory)):
            return "oom"
        if isinstance(cause, RuntimeError) and any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
            return "oom"
        if isinstance(cause, (DeviceFault, torch.AcceleratorError)):
            return "fault"
        if isinstance(cause, RuntimeError) and any(sign in text for sign in FAULT_SIGNS):
            return "fault"
        cause = cause.__cause__
    return "error"


@contextmanager
def translate_device_errors(entry: ModelEntry, device: Device) -> Iterator[None]:
    """Raise device errors as DeviceFault, and out of memory as OutOfMemory."""
    try:
        yield
    except (DeviceFault, DarkroomError):
        raise
    except Exception as error:
        verdict = classify_error(error)
        if verdict == "fault":
            raise DeviceFault(f"{type(error).__name__} on {device.name}") from error
        if verdict == "oom":
            raise OutOfMemory(f"The {device.type} device ran out of memory with {entry.name}.") from error
        raise


def readable_size(size: int) -> str:
    """Of bytes: '4.2 GB', or '21.7 MB' below one."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


# -- Sizes -------------------------------------------------------------------------------------------------------------------


def modules_of(loaded: object) -> dict[str, torch.nn.Module]:
    """The torch modules of a pipeline by name, or of a single model, or of a mapping of parts."""
    if isinstance(loaded, torch.nn.Module):
        return {"model": loaded}
    parts = loaded if isinstance(loaded, dict) else getattr(loaded, "components", {})
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def dtypes_of(loaded: object) -> dict[str, torch.dtype]:
    """The dtype of each module's weights; of those that aren't packed into few bits."""
    first = {
        name: next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), None)
        for name, module in modules_of(loaded).items()
    }
    return {name: dtype for name, dtype in first.items() if dtype is not None}


def weight_bytes(loaded: object) -> int:
    """Bytes of all parameters and buffers, tensors that are shared counted once."""
    modules = modules_of(loaded).values()
    held = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
    return sum({id(tensor): tensor.nbytes for each in held for tensor in plain_tensors(each)}.values())


def copy_weights(loaded: object) -> None:
    """Out of their files, which libraries map into memory: a file that is overwritten would change pictures that are being made, and
    one that is cut short would end the process.
    """
    for module in modules_of(loaded).values():
        for tensor in (*module.parameters(), *module.buffers()):
            if not is_traceable_wrapper_subclass(tensor):  # what was packed here is in no file
                tensor.data = tensor.data.clone()


def size_on_device(loaded: object, measures: list[str]) -> int:
    """Bytes of the device's memory that its weights take under these measures."""
    if "cpu_offload" in measures:  # one component at a time
        return max(weight_bytes(module) for module in modules_of(loaded).values())
    if "group_offload" in measures:  # one layer, while the next one comes
        layers = (layer for module in modules_of(loaded).values() for layer in module.modules())
        return 2 * max(_own_bytes(layer) for layer in layers)
    return weight_bytes(loaded) or int(getattr(loaded, "nbytes", 0))


def sizes_stored(loaded: object, measure: str) -> list[int]:
    """Bytes of each part once its weights are kept so. Nothing is packed for that."""
    return [
        weight_bytes(part)
        - sum(layer.weight.nbytes - stored for layer, stored in _stored(name, part, STORAGE_MEASURES[measure]))
        for name, part in modules_of(loaded).items()
    ]


def _stored(name: str, part: torch.nn.Module, storage: str) -> Iterator[tuple[Any, int]]:
    """The layers whose weights will be smaller, with the bytes that they will take."""
    if storage == "fp8":
        yield from ((layer, layer.weight.numel()) for layer in layers_in_fp8(name, part))
    else:
        yield from ((layer, packed_bytes(layer, storage)) for layer in layers_to_pack(name, part, storage).values())


def _own_bytes(layer: torch.nn.Module) -> int:
    return sum(tensor.nbytes for parameter in layer.parameters(recurse=False) for tensor in plain_tensors(parameter))


def bytes_in_dtype(tensors: Iterable[TensorInfo], dtype: torch.dtype) -> int:
    """What the tensors of a safetensors file take once their floating-point numbers are held in `dtype`."""
    total = 0
    for tensor in tensors:
        width = FLOAT_BYTES.get(tensor.dtype)
        total += tensor.nbytes * dtype.itemsize // width if width else tensor.nbytes
    return total


def estimate_files(
    entry: ModelEntry, folder: Path, files: Iterable[Path], dtype: torch.dtype, count: TensorBytes | None = None
) -> int:
    """Bytes of these safetensors files of a model once loaded in `dtype`. Raises DarkroomError for one that is damaged.

    `count`: instead of `bytes_in_dtype`.
    """
    total = 0
    for file in files:
        try:
            tensors = read_header(file).tensors
            total += count(tensors, dtype) if count else bytes_in_dtype(tensors.values(), dtype)
        except (HeaderError, OSError) as error:
            name = file.relative_to(folder).as_posix()
            raise DarkroomError("damaged", 422, f"The file {name} of {entry.name} is damaged: {error}.") from error
    return total


# -- Measures ----------------------------------------------------------------------------------------------------------------


def apply_measure(name: str, pipeline: Any, device: Device) -> bool:
    """Turn a measure on. False where it does not apply to this pipeline or device, or is on already."""
    if name in ("vae_slicing", "vae_tiling"):
        return _switch_vae(getattr(pipeline, "vae", None), name.removeprefix("vae_"))
    if name == "attention_slicing":
        if not any(hasattr(module, "set_attention_slice") for module in modules_of(pipeline).values()):
            return False
        pipeline.enable_attention_slicing()
        return True
    if name == "fp8_storage":
        return _store_in_fp8(pipeline, device)
    if name in STORAGE_MEASURES:
        return _pack(pipeline, STORAGE_MEASURES[name], device)
    if device.type == "cpu" or not getattr(pipeline, "model_cpu_offload_seq", None) or is_offloaded_by_layers(pipeline):
        return False
    if name == "group_offload":
        if any(is_in_blocks(module) for module in modules_of(pipeline).values()):
            return False
        _offload_layers(pipeline, device)
    else:
        offload(pipeline, device)
    return True


def offload(pipeline: Any, device: Device) -> None:
    """Every module whole in main memory, with a fresh hook that brings it to the device when it is called.

    Also after a shortage: that can stop a hook in the middle of a move, and accelerate takes a module to be where its first
    parameter is.
    """
    pipeline.remove_all_hooks()
    for module in modules_of(pipeline).values():
        module.to("cpu")
    device.empty_cache()
    pipeline.enable_model_cpu_offload(device=device.torch_device)


def _offload_layers(pipeline: Any, device: Device) -> None:
    """For as long as the model is loaded. On CUDA the next layer comes while one computes."""
    pipeline.enable_group_offload(
        onload_device=device.torch_device,
        offload_type="leaf_level",
        use_stream=device.torch_device.type == "cuda",
        low_cpu_mem_usage=True,  # else all weights are pinned, which main memory may not bear
    )


def is_offloaded_by_layers(loaded: object) -> bool:
    return any(_is_group_offload_enabled(module) for module in modules_of(loaded).values())


def undo_measure(name: str, pipeline: Any, device: Device) -> None:
    if name in ("vae_slicing", "vae_tiling"):
        getattr(pipeline.vae, "disable_" + name.removeprefix("vae_"))()
    elif name == "attention_slicing":
        pipeline.disable_attention_slicing()
    else:
        pipeline.remove_all_hooks()
        pipeline.to(device.torch_device)


def _store_in_fp8(pipeline: object, device: Device) -> bool:
    """Each layer of the denoiser is brought to its own dtype while it runs. For as long as the model is loaded."""
    denoiser: Any = next((part for name, part in modules_of(pipeline).items() if name in DENOISERS), None)
    if device.type == "mps" or not hasattr(denoiser, "enable_layerwise_casting"):  # MPS has no such numbers
        return False
    if any(is_packed(parameter) for parameter in denoiser.parameters()):  # in few bits already
        return False
    denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=denoiser.dtype)
    return True


def _pack(pipeline: object, storage: str, device: Device) -> bool:
    """For as long as the model is loaded. Beside a denoiser that is packed already, text encoders alone are.

    Raises ImportError without the package.
    """
    packable = {name: layers_to_pack(name, part, storage) for name, part in modules_of(pipeline).items()}
    if device.type not in ("cuda", "cpu") or not any(packable.values()):
        return False
    for name, layers in packable.items():
        pack_layers(modules_of(pipeline)[name], layers, storage, device.torch_device)
    return True


def _switch_vae(vae: object, kind: str) -> bool:
    if not hasattr(vae, f"use_{kind}") or getattr(vae, f"use_{kind}"):
        return False
    getattr(vae, f"enable_{kind}")()
    return True
