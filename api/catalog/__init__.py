"""Every model, adapter and embedding that this server offers. No torch, no Django.

The built-in catalog is catalog.toml in this folder; an owner adds or replaces tables in a file of their own (CATALOG_EXTRA):

    [models."my-model"]
    path = "/data/checkpoints/my-model"         # a diffusers folder; or repo = "owner/name" on the Hugging Face hub
    family = "sd1"

    [models."my-checkpoint"]
    path = "/data/checkpoints/dream.safetensors"   # one file: family, size, steps … come from its header where the table has none
    vae = "/data/vae/mine.safetensors"             # optional: instead of its own; or a VAE of the library, by its id or file's name
    text_encoders = ["clip_l.safetensors", "t5xxl_fp16.safetensors"]   # optional, for SD 3 and FLUX: likewise
    base = "my-model"                              # optional: whose parts and configurations are taken where the file has none
    prediction = "v_prediction"                    # optional, as zero_terminal_snr = true: where the file does not say so itself
    guidance_rescale = 0.7                         # optional, of sd1, sd2 and sdxl: against overexposure by guidance

Beside the tables, a catalog asks its `source` (EntrySource): the library of files (api/library), looked up entry by entry.
"""

from api.catalog.entries import (
    COMMIT_PATTERN,
    CONTROLNET,
    IMAGE_ENCODER,
    IP_ADAPTER,
    LONGEST_NAME,
    MODEL_ID_PATTERN,
    PRECISIONS,
    REPO_PATTERN,
    TASKS,
    TEXT_TO_IMAGE,
    UPSCALING,
    AdapterEntry,
    EmbeddingEntry,
    ModelEntry,
    is_entry_name,
    is_model_id,
)
from api.catalog.lookup import Catalog, fits_model
from api.catalog.lookup_errors import (
    AmbiguousAdapter,
    AmbiguousEmbedding,
    AmbiguousModel,
    AmbiguousPart,
    UnknownAdapter,
    UnknownEmbedding,
    UnknownEntry,
    UnknownModel,
    UnknownPart,
)
from api.catalog.onnx_variants import (
    ONNX_DECODERS,
    ONNX_FAMILIES,
    ONNX_PARTS,
    ONNX_PRECISIONS,
    ONNX_PRESETS,
    ONNX_SUFFIXES,
    ONNX_WORDS,
    as_variant,
    onnx_files,
    onnx_variant,
    part_file,
)
from api.catalog.source import EntrySource
from api.catalog.toml_files import BUILT_IN, CatalogError, folder_of_package, load_catalog

__all__ = [
    "BUILT_IN",
    "COMMIT_PATTERN",
    "CONTROLNET",
    "IMAGE_ENCODER",
    "IP_ADAPTER",
    "LONGEST_NAME",
    "MODEL_ID_PATTERN",
    "ONNX_DECODERS",
    "ONNX_FAMILIES",
    "ONNX_PARTS",
    "ONNX_PRECISIONS",
    "ONNX_PRESETS",
    "ONNX_SUFFIXES",
    "ONNX_WORDS",
    "PRECISIONS",
    "REPO_PATTERN",
    "TASKS",
    "TEXT_TO_IMAGE",
    "UPSCALING",
    "AdapterEntry",
    "AmbiguousAdapter",
    "AmbiguousEmbedding",
    "AmbiguousModel",
    "AmbiguousPart",
    "Catalog",
    "CatalogError",
    "EmbeddingEntry",
    "EntrySource",
    "ModelEntry",
    "UnknownAdapter",
    "UnknownEmbedding",
    "UnknownEntry",
    "UnknownModel",
    "UnknownPart",
    "as_variant",
    "fits_model",
    "folder_of_package",
    "is_entry_name",
    "is_model_id",
    "load_catalog",
    "onnx_files",
    "onnx_variant",
    "part_file",
]
