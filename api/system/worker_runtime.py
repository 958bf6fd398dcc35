"""What a worker process owns: the model store, the device and the model loader, made once from the settings.  [torch]"""

import logging
import os
import time
from collections.abc import Callable

from django.conf import settings

from api.jobs.errors import JobCancelled
from config.catalog import get_catalog

log = logging.getLogger("darkroom.worker")


def start_runtime() -> None:
    """Imports torch, probes the device and configures the loader. Takes some seconds; the worker claims nothing before."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of torchvision, which nothing here needs
    from api import model_loader
    from api.devices import probe_device
    from api.downloads.store import ModelStore

    started = time.monotonic()
    device = probe_device(settings.DEVICE)
    store = ModelStore(settings.MODELS_DIR, settings.HF_TOKEN or None, settings.HF_ENDPOINT or None)
    model_loader.configure(
        catalog=get_catalog(),
        store=store,
        device=device,
        memory_limit=settings.MODEL_MEMORY_LIMIT,
        forced_measures=frozenset(name for name in settings.MEMORY_MEASURES if not name.startswith("-")),
        forbidden_measures=frozenset(name[1:] for name in settings.MEMORY_MEASURES if name.startswith("-")),
        denoiser_options=model_loader.DenoiserOptions(
            graphs=settings.IMAGE_GRAPHS == "auto", compile_blocks=settings.IMAGE_COMPILE == "regional"
        ),
    )
    log.info("%s in %s, ready in %.1f s", device.name, str(device.dtype).removeprefix("torch."), time.monotonic() - started)


def describe_runtime() -> dict[str, object]:
    """The Worker row's fields: the device and what is loaded."""
    from api.model_loader import get_loader

    loader = get_loader()
    memory = {"model_limit": loader.memory_limit, "device_free": loader.free_memory()}
    version = str(settings.SPECTACULAR_SETTINGS["VERSION"])
    device = {**loader.device.describe(), "model_memory": memory, "version": version}
    return {"device": device, "loaded_models": loader.loaded()}


def held_models() -> set[str]:
    """In memory; asked at each claim, for which the whole description would be too slow."""
    from api.model_loader import get_loader

    return {str(model["id"]) for model in get_loader().loaded()}


def warm_up(should_stop: Callable[[], bool]) -> None:
    """What pictures need, where it is on disk already: the first request then finds it loaded, and used once. Never downloads.

    The image model comes last: where both don't fit, it is the one that stays. Raises JobCancelled where it was told to stop.
    """
    from api.images.backends.warming import make_first_pictures
    from api.model_loader import get_loader

    def report(fraction: float, text: str) -> None:
        if should_stop():
            raise JobCancelled

    loader = get_loader()
    for model_id in [*([settings.DEFAULT_CLIP_MODEL] if settings.PROMPT_SCORES else []), settings.DEFAULT_IMAGE_MODEL]:
        entry = get_catalog().get(model_id)
        if loader.store.available(entry):
            loader.load(entry.id, report)
            log.info("%s is loaded", entry.name)
    if loader.store.available(get_catalog().get(settings.DEFAULT_IMAGE_MODEL)):
        make_first_pictures(loader, settings.DEFAULT_IMAGE_MODEL, should_stop)
        report(1.0, "")
