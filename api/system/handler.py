"""Loading and unloading a model ahead of use, as jobs: with progress, in the history, in the worker that claims them."""

from collections.abc import Iterator, Sequence
from typing import Any

from api.jobs.kinds import JobKind
from api.jobs.models import Job, Worker
from api.jobs.running import Finished, Outcome, RunningJob
from api.runtime.model_use import report_to


class LoadModel(JobKind):
    """Fetches the weights where they are missing, and loads them; the loader may evict them again like any others."""

    name = "load_model"

    def without_models(self) -> bool:
        return False

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        from api.model_loader import get_loader

        for run in batch:
            with run.measure("load"):
                get_loader().load(run.params["model_id"], report_to([run]))
            yield Finished(run, {"model_id": run.params["model_id"], "loaded": True, "memory": get_loader().loaded()})

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        return record_memory(job, output)


class UnloadModel(JobKind):
    """Frees a model's memory; `unloaded` is false where it was not loaded. Of several workers: in the one that it is for, else in
    the one that claims it.
    """

    name = "unload_model"

    def without_models(self) -> bool:
        return False

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        from api.model_loader import get_loader

        for run in batch:
            unloaded = get_loader().unload(run.params["model_id"])
            yield Finished(run, {"model_id": run.params["model_id"], "unloaded": unloaded, "memory": get_loader().loaded()})

    def record(self, job: Job, output: Any) -> dict[str, Any]:
        return record_memory(job, output)


def record_memory(job: Job, output: dict[str, Any]) -> dict[str, Any]:
    """The Worker row in the same transaction, so that /api/models/ agrees with the answer before the next heartbeat."""
    Worker.objects.filter(jobs=job).update(loaded_models=output["memory"])
    return {name: value for name, value in output.items() if name != "memory"}
