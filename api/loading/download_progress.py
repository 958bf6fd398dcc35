"""The download of a model as the first part of the progress of loading it."""

from __future__ import annotations

from collections.abc import Callable

from api.loading.device_memory import readable_size

Progress = Callable[[float, str], None]
"""Called with a fraction from 0 to 1 and a description of the current step."""
DOWNLOAD_SHARE = 0.9
"""The share of the progress that a download takes."""


def download_progress(name: str, on_progress: Progress | None) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None

    def report(done: int, total: int) -> None:
        on_progress(
            min(DOWNLOAD_SHARE, DOWNLOAD_SHARE * done / max(total, 1)),
            f"Downloading {name}: {readable_size(done)} of {readable_size(total)}",
        )

    return report
