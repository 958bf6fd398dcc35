"""What AUTOMATIC1111's clients fill their menus with: each list is what there is here, for this principal."""

import os
from collections.abc import Iterable, Iterator

from django.conf import settings
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.catalog import AdapterEntry, EmbeddingEntry
from api.dialects.a1111 import options
from api.dialects.a1111.checkpoints import find_checkpoint, list_checkpoints
from api.dialects.a1111.option_table import CHECKPOINT
from api.dialects.a1111.scripts import CONTROL
from api.dialects.a1111.translation import SD_UPSCALE
from api.dialects.a1111.upscalers import FILES, LATENT_MODES, NONE, list_upscalers
from api.images.models import Preset
from api.images.presets.services import usable_by
from api.images.prompt_syntax.embedding_headers import read_embedding_file
from api.images.scheduler_presets import SCHEDULERS
from api.json_types import JsonObject
from api.library.entries import embedding_entry
from api.library.models import Kind, LibraryFile
from api.model_files.header import HeaderError, read_header
from config.catalog import get_catalog

MOST = 1000
"""Files of one list."""
KARRAS, TRAILING = "_karras", "_trailing"
SCHEDULES = {"automatic": ("Automatic", -1.0), "uniform": ("Uniform", -1.0), "karras": ("Karras", 7.0)}
LARGEST_SCALE = 4
"""What it says of upscalers that have no scale of their own."""


def samplers(principal: Principal) -> list[JsonObject]:
    """Their noise schedules are a list of their own; joined names are still read."""
    plain = [name for name in SCHEDULERS if not name.endswith((KARRAS, TRAILING))]
    return [{"name": SCHEDULERS[name].label, "aliases": list(aliases_of(name)), "options": {}} for name in plain]


def aliases_of(name: str) -> Iterator[str]:
    yield name
    yield f"k_{name}"
    if (joined := name + KARRAS) in SCHEDULERS:
        yield SCHEDULERS[joined].label
        yield joined


def schedulers(principal: Principal) -> list[JsonObject]:
    return [
        {"name": name, "label": label, "aliases": [], "default_rho": rho, "need_inner_model": False}
        for name, (label, rho) in SCHEDULES.items()
    ]


def upscalers(principal: Principal) -> list[JsonObject]:
    none: JsonObject = {"name": NONE, "model_name": None, "model_path": None, "model_url": None, "scale": LARGEST_SCALE}
    return [none, *({**none, "name": label, **file_of(entry.path, principal)} for label, entry in list_upscalers())]


def file_of(path: object, principal: Principal) -> JsonObject:
    return {"model_name": None, "model_path": shown_path(str(path), principal)} if path else {}


def latent_upscale_modes(principal: Principal) -> list[JsonObject]:
    return [{"name": name} for name in LATENT_MODES]


def realesrgan_models(principal: Principal) -> list[JsonObject]:
    return [
        {"name": label, "path": shown_path(str(entry.path), principal), "scale": LARGEST_SCALE}
        for label, entry in list_upscalers()
        if label in FILES
    ]


def sd_models(principal: Principal) -> list[JsonObject]:
    return [
        {
            "title": one.title,
            "model_name": one.model_name,
            "hash": one.autov2 or None,
            "sha256": one.sha256 or None,
            "filename": shown_path(str(one.entry.path), principal) if one.entry.path else one.name,
            "config": None,
        }
        for one in list_checkpoints()
    ]


def nothing(principal: Principal) -> list[JsonObject]:
    """Of kinds that can't be chosen here: VAEs and text encoders (a model brings its own, or has one beside it), hypernetworks, what
    restores faces, and extensions.
    """
    return []


def loras(principal: Principal) -> list[JsonObject]:
    """`<lora:name:1>` reads both `name` and `alias`."""
    tables = [entry for entry in get_catalog().adapters.values() if has_file(entry)]
    return [
        *(lora_of_table(entry, principal) for entry in tables),
        *(lora_of_file(row, principal) for row in usable(Kind.LORA)),
    ]


def lora_of_table(entry: AdapterEntry, principal: Principal) -> JsonObject:
    triggers = [entry.trigger] if entry.trigger else []
    path, metadata = shown_path(str(entry.path), principal), {"family": entry.family, "trigger_words": triggers}
    return {"name": entry.id, "alias": entry.id, "path": path, "metadata": metadata}


def lora_of_file(row: LibraryFile, principal: Principal) -> JsonObject:
    metadata: JsonObject = {"family": row.family, "trigger_words": row.trigger_words}
    return {"name": row.stem, "alias": row.entry_id, "path": shown_path(row.path, principal), "metadata": metadata}


def has_file(entry: AdapterEntry) -> bool:
    return entry.path is not None and entry.path.is_file()


def embeddings(principal: Principal) -> JsonObject:
    """`loaded`: what fits the model that is chosen; nothing, where that is gone."""
    try:
        family = find_checkpoint(options.get(principal)[CHECKPOINT]).family
    except ValidationError:
        family = ""
    loaded: JsonObject = {}
    skipped: JsonObject = {}
    for name, entry in named_embeddings():
        if described := describe_embedding(entry):
            (loaded if entry.family == family else skipped)[name] = described
    return {"loaded": loaded, "skipped": skipped}


def named_embeddings() -> Iterator[tuple[str, EmbeddingEntry]]:
    yield from ((entry.id, entry) for entry in get_catalog().embeddings.values())
    for row in usable(Kind.EMBEDDING):
        yield row.stem, embedding_entry(row)


def describe_embedding(entry: EmbeddingEntry) -> JsonObject | None:
    """None for a file that has gone, or is none."""
    try:
        file, tensors = read_embedding_file(entry.path), read_header(entry.path).tensors
    except (OSError, HeaderError):
        return None
    width = tensors[file.names[0]].shape[-1]
    return {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": width, "vectors": file.vectors}


def prompt_styles(principal: Principal) -> list[JsonObject]:
    """Presets that hold a prompt: `{prompt}` in it is the request's own, as in a style. Its own before a shared one of the same name."""
    presets = usable_by(principal.owner_key).order_by("name")[:MOST]
    own_last = sorted(presets, key=lambda preset: preset.owner_key == principal.owner_key)
    styles = {preset.name: style for preset in own_last if (style := described_style(preset))}
    return [styles[name] for name in sorted(styles)]


def described_style(preset: Preset) -> JsonObject | None:
    request = preset.current[0].request  # type: ignore[attr-defined]
    texts = {name: request.get(name) or "" for name in ("prompt", "negative_prompt")}
    return {"name": preset.name, **texts} if any(texts.values()) else None


def scripts(principal: Principal) -> JsonObject:
    """What is read of `alwayson_scripts`, and of `script_name`."""
    return {"txt2img": [CONTROL], "img2img": [CONTROL, SD_UPSCALE]}


def script_info(principal: Principal) -> list[JsonObject]:
    controls: list[JsonObject] = [
        {"name": CONTROL, "is_alwayson": True, "is_img2img": is_img2img, "args": []} for is_img2img in (False, True)
    ]
    return [*controls, {"name": SD_UPSCALE, "is_alwayson": False, "is_img2img": True, "args": []}]


# ---------------------------------------------------------------- files of the library


def usable(kind: Kind) -> Iterable[LibraryFile]:
    return LibraryFile.objects.usable().filter(kind=kind)[:MOST] if settings.LIBRARY_DIRS else []


def shown_path(path: str, principal: Principal) -> str:
    """Where a file lies on the server is for staff; the others see what it is called."""
    return path if principal.is_staff else os.path.basename(path)
