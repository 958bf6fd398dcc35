"""What people call the families of models. No torch, no Django."""

from api.catalog import AdapterEntry, ModelEntry

FAMILY_NAMES = {
    "sd1": "SD 1.x",
    "sd2": "SD 2.x",
    "sdxl": "SDXL",
    "sdxl-refiner": "SDXL's refiner",
    "sd3": "SD 3",
    "flux": "FLUX",
    "qwen-image": "Qwen-Image",
    "z-image": "Z-Image",
}


def family_name(family: str) -> str:
    return FAMILY_NAMES.get(family, family)


def describe_misfit(adapter: AdapterEntry, entry: ModelEntry) -> str:
    """Of an adapter that the catalog says is for another model."""
    if adapter.family in ("", entry.family) or not entry.family:
        return f"'{adapter.id}' does not fit {entry.name}."
    return describe_families(adapter.id, adapter.family, entry)


def describe_families(adapter_id: str, family: str, entry: ModelEntry) -> str:
    return f"'{adapter_id}' is made for {family_name(family)}, and {entry.name} is {family_name(entry.family)}."
