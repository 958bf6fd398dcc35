"""From a row of the library to the catalog's entry."""

from pathlib import Path

from api.catalog import AdapterEntry, EmbeddingEntry, ModelEntry
from api.library.models import LibraryFile

SOURCE = "library"
UNKNOWN_LICENCE = "unknown"
DEFAULTS: dict[str, tuple[int, int, float]] = {
    "sd1": (512, 25, 7.0),
    "sd2": (512, 25, 7.0),
    "sdxl": (1024, 30, 5.0),
    "sd3": (1024, 28, 4.5),
    "flux": (1024, 28, 3.5),
    "z-image": (1024, 9, 0.0),
    "qwen-image": (1024, 50, 4.0),
}
"""By family: the side of a picture, steps and guidance where a request names none."""
OTHERS = (512, 25, 7.0)
SD2_WITH_V = 768
"""The side of a picture of Stable Diffusion 2 with v-prediction."""
FEW_STEPS: dict[str, tuple[int, float, str]] = {
    "lcm": (6, 1.5, "lcm"),
    "lightning": (4, 1.0, ""),
    "hyper": (8, 1.0, ""),
    "turbo": (4, 0.0, ""),
}
"""Steps, guidance and scheduler of models that are distilled to few steps; a scheduler "" is the family's."""
SCHNELL = (4, 0.0, "")


def model_entry(row: LibraryFile) -> ModelEntry:
    size, steps, guidance = DEFAULTS.get(row.family, OTHERS)
    scheduler = ""
    few = SCHNELL if row.variant == "schnell" else FEW_STEPS.get(row.few_step)
    if few is not None:
        steps, guidance, scheduler = few
    return ModelEntry(
        id=row.entry_id,
        name=row.name,
        family=row.family,
        path=Path(row.path),
        single_file=not row.is_folder,
        vae=str(row.beside(row.vae)) if row.vae else "",
        prediction=row.prediction,
        zero_terminal_snr=row.zero_terminal_snr,
        scheduler=scheduler,
        licence=row.licence or UNKNOWN_LICENCE,
        source=SOURCE,
        default_size=SD2_WITH_V if (row.family, row.prediction) == ("sd2", "v_prediction") else size,
        default_steps=steps,
        default_guidance_scale=guidance,
        parameters=row.parameters,
        memory=2 * row.parameters or row.size,
    )


def adapter_entry(row: LibraryFile) -> AdapterEntry:
    return AdapterEntry(
        id=row.entry_id,
        name=row.name,
        family=row.family,
        path=Path(row.path),
        licence=row.licence or UNKNOWN_LICENCE,
        trigger=", ".join(row.trigger_words),
    )


def embedding_entry(row: LibraryFile) -> EmbeddingEntry:
    return EmbeddingEntry(
        id=row.entry_id, name=row.name, path=Path(row.path), family=row.family, aliases=(row.stem, row.file_name)
    )
