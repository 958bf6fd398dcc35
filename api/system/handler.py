"""Loading and unloading a model ahead of use, as jobs: with progress, in the history, in the worker that claims them."""

from collections.abc import Iterator, Sequence
from typing import Any

from api.jobs.kinds import JobKind
from api.jobs.models import Job, Worker
from api.jobs.running import Finished, Outcome, RunningJob
from api.runtime.model_use import report_to
from api.system.spec import LoadModelSpec, UnloadModelSpec


class LoadModel(JobKind[LoadModelSpec]):
    """Fetches the weights where they are missing, and loads them; the loader may evict them again like any others."""

    name = LoadModelSpec.kind
    spec_class = LoadModelSpec

    def without_models(self) -> bool:
        return False

    def run(self, batch: Sequence[RunningJob[LoadModelSpec]]) -> Iterator[Outcome]:
        from api.model_loader import get_loader

        for run in batch:
            with run.measure("load"):
                get_loader().load(run.spec.model_id, report_to([run]))
            yield Finished(run, {"model_id": run.spec.model_id, "loaded": True, "memory": get_loader().loaded()})

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        return record_memory(job, output)


class UnloadModel(JobKind[UnloadModelSpec]):
    """Frees a model's memory; `unloaded` is false where it was not loaded. Of several workers: in the one that it is for, else in
    the one that claims it.
    """

    name = UnloadModelSpec.kind
    spec_class = UnloadModelSpec

    def without_models(self) -> bool:
        return False

    def run(self, batch: Sequence[RunningJob[UnloadModelSpec]]) -> Iterator[Outcome]:
        from api.model_loader import get_loader

        for run in batch:
            unloaded = get_loader().unload(run.spec.model_id)
            yield Finished(run, {"model_id": run.spec.model_id, "unloaded": unloaded, "memory": get_loader().loaded()})

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        return record_memory(job, output)


def record_memory(job: Job, output: dict[str, Any]) -> dict[str, Any]:
    """The Worker row in the same transaction, so that /api/models/ agrees with the answer before the next heartbeat."""
    Worker.objects.filter(jobs=job).update(loaded_models=output["memory"])
    return {name: value for name, value in output.items() if name != "memory"}
