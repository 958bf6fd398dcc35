"""What the catalog says of one model, one adapter, one embedding."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

MODEL_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*){0,2}"
REPO_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*"
COMMIT_PATTERN = r"[0-9a-f]{40}"
LONGEST_NAME = 1000
"""Characters of a name in a request: an id, or an alias of a file in the library, such as its path there."""

TEXT_TO_IMAGE = "text-to-image"
UPSCALING = "upscaling"
CONTROLNET = "controlnet"
IP_ADAPTER = "ip-adapter"
IMAGE_ENCODER = "image-encoder"

TASKS = (
    TEXT_TO_IMAGE,
    "image-text-to-text",
    "text-generation",
    "zero-shot-image-classification",
    "aesthetic-head",
    "image-aesthetics",
    "hazard-cells",
    "object-detection",
    "zero-shot-object-detection",
    "image-segmentation",
    "mask-generation",
    "image-classification",
    "ocr",
    UPSCALING,
    CONTROLNET,
    IP_ADAPTER,
    IMAGE_ENCODER,
)

PREDICTIONS = ("", "epsilon", "v_prediction")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "int4")


@dataclass(frozen=True)
class ModelEntry:
    """One model. `repo` (on the hub) or `path` (a folder or a single file here) is set, never both."""

    id: str
    name: str
    task: str = TEXT_TO_IMAGE
    family: str = ""
    repo: str | None = None
    revision: str | None = None
    """The hub's commit. None: resolved at the first download, recorded, and required from then on (`pinned: first_use`)."""
    path: Path | None = None
    variant: str | None = None
    """Weights of this variant ("fp16") are preferred where the repository has them."""
    licence: str = "unknown"
    source: str = ""
    gated: bool = False
    """The owner must accept the licence on the hub and set HF_TOKEN."""
    default_size: int = 512
    default_steps: int = 25
    default_guidance_scale: float = 7.0
    guidance_rescale: float = 0.0
    """0 to 1: how far guidance is brought back to the spread that the prediction has without it, against overexposure (sd1, sd2, sdxl)."""
    parameters: int = 0
    memory: int = 0
    """Bytes of the weights at half precision; 0 is unknown. What is loaded is measured, this is only told to people."""
    max_batch: int = 1
    note: str = ""
    base: str = ""
    """The id of the model that this one stands on: a head's CLIP; for a CLIP without them, whose tokenizer and processor it takes."""
    files: tuple[str, ...] = ()
    """Glob patterns of the files to fetch, for repositories that are no plain diffusers or transformers checkpoint."""
    precision: str = ""
    """Of a chat model: in what it is computed. "" is the server's own setting."""
    package: str = ""
    """A Python package that brings the model; `path` then counts from its folder."""
    control: tuple[str, ...] = ()
    """Of a ControlNet: the kinds of maps that it reads, such as canny. Its `base` is the only model it fits; else it fits its family."""
    image_encoder: str = ""
    """Of an IP-Adapter: the id of the model that reads its pictures; "": the first that makes its `features`, or that in its folder."""
    features: tuple[str, ...] = ()
    """Of an image encoder: what it makes of a picture, with the width ("embeds-1024", "states-1280"); of an IP-Adapter: what it reads."""
    classes: tuple[str, ...] = ()
    """Of a detector in ONNX: the names of its classes, in the place of those in its file."""
    onnx: tuple[str, ...] = ()
    """Variants in ONNX that its onnx/ folder has, the one to take first."""
    onnx_only: bool = False
    """There are no other weights: this entry is the first of its variants."""
    single_file: bool = False
    """`path` is one .safetensors file, of all parts or of the denoiser alone."""
    vae: str = ""
    """What decodes its pictures in place of its own: the path of a VAE file, or a VAE's id or file name in the library."""
    text_encoders: tuple[str, ...] = ()
    """Files of the text encoders that a single file of SD 3 or FLUX lacks: paths, or ids or file names in the library."""
    prediction: str = ""
    """"epsilon" or "v_prediction"; "": what its configuration says."""
    zero_terminal_snr: bool = False
    """Its last noise level has no picture in it any more: its scheduler's betas are rescaled so."""
    scheduler: str = ""
    """What a request gets that names none, for models of few steps; "": the family's."""
    storage: str = ""
    """How its denoiser's weights are kept in memory, and in int8 and nf4 its large text encoders': one of api/catalog/storages.py."""
    sha256: str = field(default="", compare=False)
    """Not in the file: of a file in the library, once all of it has been read."""
    onnx_variant: str = ""
    """Not in the file: the variant that is loaded, where the entry is one (`Catalog.get("id@onnx-int8")`)."""


@dataclass(frozen=True)
class AdapterEntry:
    """One LoRA: a single safetensors file, on the hub (`repo` and `filename`) or here (`path`)."""

    id: str
    name: str
    family: str = ""
    base: tuple[str, ...] = ()
    """Ids of the models that it fits; empty: any of its family."""
    repo: str | None = None
    revision: str | None = None
    filename: str | None = None
    path: Path | None = None
    licence: str = "unknown"
    trigger: str = ""
    """Words that a prompt needs for the adapter to act."""

    def fits(self, entry: ModelEntry) -> bool:
        return entry.id in self.base if self.base else entry.family == self.family


@dataclass(frozen=True)
class EmbeddingEntry:
    """One textual inversion: a .safetensors file with the vectors that a word of the prompt stands for."""

    id: str
    name: str
    path: Path
    family: str = ""
    aliases: tuple[str, ...] = ()
    """What a prompt may call it beside its id: its file's name as it is, without the ending."""


def is_model_id(value: str) -> bool:
    """One to three segments joined by '/', with no '..' anywhere: never a path, a URL or a host."""
    return re.fullmatch(MODEL_ID_PATTERN, value) is not None and ".." not in value


def is_entry_name(value: str) -> bool:
    """What may name an entry: an id, or a file's name or relative path in the library, whatever its letters."""
    return 0 < len(value) <= LONGEST_NAME and value.isprintable() and not {"..", "."} & set(value.split("/"))
