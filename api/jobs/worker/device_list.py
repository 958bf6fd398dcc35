"""For which devices the supervisor keeps a worker: read without torch, which the web process does not import."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
LISTING_SECONDS = 20.0


def worker_devices() -> list[str]:
    """For each worker what `manage.py worker --device` is given; '' leaves the choice to DEVICE.

    `auto` is one worker for each CUDA device that is visible here, and one in all where there are fewer than two or DEVICE names another.
    """
    if settings.WORKER_DEVICES != ["auto"]:
        return list(settings.WORKER_DEVICES)
    count = cuda_device_count(os.environ) if settings.DEVICE in ("auto", "cuda") and settings.LOAD_MODELS else 0
    return [f"cuda:{index}" for index in range(count)] if count > 1 else [""]


def cuda_device_count(environment: Mapping[str, str]) -> int:
    """Of those that CUDA_VISIBLE_DEVICES leaves visible, which a worker counts from 0."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return machine_gpu_count() if visible is None else len(visible_ids(visible))


def visible_ids(visible: str) -> list[str]:
    """CUDA takes the ids up to the first that is none."""
    ids: list[str] = []
    for part in visible.split(","):
        if not part.strip() or part.strip().startswith("-"):
            break
        ids.append(part.strip())
    return ids


def machine_gpu_count() -> int:
    if NVIDIA_GPUS.is_dir():
        return len(list(NVIDIA_GPUS.iterdir()))
    if (command := shutil.which("nvidia-smi")) is None:
        return 0
    try:
        listing = subprocess.run([command, "--list-gpus"], capture_output=True, text=True, timeout=LISTING_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
