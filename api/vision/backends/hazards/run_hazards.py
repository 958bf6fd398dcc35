"""Finds the hazards in the pictures of a batch with a model of the loader.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from api.errors import DarkroomError
from api.loading.hazards import HazardModel
from api.model_loader import ModelLoader
from api.vision.backends.hazards.decisions import find_hazards, prepare
from api.vision.hazards import HAZARD_CELLS, FoundHazards, HazardRequest

Progress = Callable[[float, str], None]
MOST_AT_ONCE = 16
"""Pictures of one forward pass."""


@dataclass(frozen=True)
class HazardResults:
    """Of each request what was found, or the error that is its own."""

    results: list[FoundHazards | DarkroomError]
    notes: list[str]
    """Sentences about what the loader did, for the warnings of all."""


def run_hazards(
    loader: ModelLoader, model_id: str, requests: Sequence[HazardRequest], on_progress: Progress | None = None
) -> HazardResults:
    """Raises DarkroomError for what ends them all."""
    with loader.use(model_id, HAZARD_CELLS, on_progress) as lease:
        results: list[FoundHazards | DarkroomError] = []
        for attempt in loader.retry_on_oom(lease, batch_size=min(len(requests), MOST_AT_ONCE)):
            with attempt:
                results = find_with(lease.pipeline, requests, attempt.batch_size)
        return HazardResults(results, list(lease.notes))


def find_with(model: HazardModel, requests: Sequence[HazardRequest], batch_size: int) -> list[FoundHazards | DarkroomError]:
    """The requests in the order given, in passes of at most `batch_size` pictures."""
    results: list[FoundHazards | DarkroomError] = []
    for start in range(0, len(requests), batch_size):
        part = requests[start : start + batch_size]
        outputs = model.run(np.stack([prepare(request.picture, model.width, model.height) for request in part]))
        results += [_find_one(request, row, model) for request, row in zip(part, outputs, strict=True)]
    return results


def _find_one(request: HazardRequest, outputs: np.ndarray, model: HazardModel) -> FoundHazards | DarkroomError:
    try:
        return find_hazards(request, outputs, model.layout)
    except DarkroomError as error:
        return error
