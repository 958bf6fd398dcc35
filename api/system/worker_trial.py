"""Why a worker can't start here: its errors as sentences, and a trial before the server starts."""

import logging
import subprocess
import sys

from django.conf import settings

from api.catalog import CatalogError
from config.failures import sentence_for

log = logging.getLogger("darkroom.worker")
DEVICE_CURE = "Set DEVICE=auto, or install the build of PyTorch for your device (pytorch.org/get-started)."
DRIVER_CURE = "Update the GPU's driver, or set DEVICE=cpu."


def device_failure(preference: str) -> str:
    """Why DEVICE can't be used; '' where it can, or is left to the worker.

    Tried in a process of its own, since the web process never imports torch; only where an accelerator is asked for by name, as this
    takes some seconds.
    """
    if preference in ("auto", "cpu"):
        return ""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "worker", "--trial"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return ""
    return done.stdout.strip() or f"A worker ends with exit status {done.returncode} as it starts. {DRIVER_CURE}"


def sentence_for_start(error: Exception) -> str:
    """Why the worker can't start; what only its log explains is logged here."""
    if sentence := sentence_for(error):
        return sentence
    if isinstance(error, CatalogError):
        return str(error)
    if isinstance(error, ImportError):
        log.error("A package can't be loaded", exc_info=error)
        return f"{error.name or 'A package'} can't be loaded: install it anew with pip install --force-reinstall."
    from api.devices import DeviceUnavailable

    if isinstance(error, DeviceUnavailable):
        return f"{error} {DEVICE_CURE}"
    log.error("The worker can't start", exc_info=error)
    if isinstance(error, RuntimeError):  # of PyTorch's, CUDA's and the driver's
        return f"PyTorch can't use this device: {first_sentence(error)}. {DRIVER_CURE}"
    return f"The worker fails with {error.__class__.__name__} as it starts; its log has the reason."


def first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [error.__class__.__name__]
    return lines[0].rstrip(". ")
