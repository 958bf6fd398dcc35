"""What a pickled file of weights for pictures is, for the converter: a checkpoint, a VAE, a LoRA, an embedding.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from api.catalog import TEXT_TO_IMAGE, UPSCALING
from api.loading.conversion import RecognisedCheckpoint
from api.model_files.header import Header, TensorInfo
from api.model_files.identify import identify
from api.model_files.layouts import EMA_PREFIX

DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
KINDS = {
    "checkpoint": "checkpoint",
    "denoiser": "denoiser alone",
    "vae": "VAE",
    "lora": "LoRA",
    "embedding": "embedding",
    "upscaler": "upscaler",
}


def recognise_checkpoint(tensors: Mapping[str, torch.Tensor]) -> RecognisedCheckpoint | None:
    """For `api.loading.conversion`. None where the keys are of no kind that is known here."""
    identity = identify(Header({name: describe(tensor) for name, tensor in tensors.items()}), "")
    if identity.kind not in KINDS:
        return None
    kept = {name: tensor for name, tensor in tensors.items() if identity.unusable or not name.startswith(EMA_PREFIX)}
    layout = f"{KINDS[identity.kind]} of the family {identity.family}" if identity.family else KINDS[identity.kind]
    task = UPSCALING if identity.kind == "upscaler" else TEXT_TO_IMAGE
    return RecognisedCheckpoint(layout, task, identity.family, kept, kind=identity.kind)


def describe(tensor: torch.Tensor) -> TensorInfo:
    return TensorInfo(DTYPES.get(tensor.dtype, "I64"), tuple(tensor.shape), 0, tensor.nbytes)
