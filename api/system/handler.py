"""Loading and unloading a model ahead of use, as jobs: with progress, in the history, in the worker that claims them.

For all workers, the job asks for one child for each worker that is alive, and its result has theirs.
"""

import dataclasses
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from django.utils.translation import gettext_lazy as _

from api.errors import DarkroomError
from api.jobs.draining import draining_ids
from api.jobs.kinds import JobKind
from api.jobs.models import Job, Worker
from api.jobs.running import ChildJob, Failed, Finished, Outcome, RunningJob, Waiting
from api.jobs.states import Status
from api.json_types import JsonObject
from api.runtime.model_use import report_to
from api.system.selectors import live_workers
from api.system.spec import ALL_WORKERS, LoadModelSpec, ModelSpec, UnloadModelSpec

Run = RunningJob[ModelSpec]


class ModelCommand(JobKind[ModelSpec]):
    """What a worker does with one model. The result has `workers` (each with its own result or error) where it was for all."""

    def without_models(self) -> bool:
        return False

    def child_count(self, spec: ModelSpec) -> int:
        return len(able_workers(spec)) if spec.worker == ALL_WORKERS else 0

    @abstractmethod
    def act(self, run: Run) -> JsonObject:
        """In this worker; returns the result."""

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        from api.model_loader import get_loader

        for run in batch:
            if run.spec.worker != ALL_WORKERS:
                yield Finished(run, {**self.act(run), "memory": get_loader().loaded()})
            elif children := run.children:
                yield outcome_of(run, children)
            else:
                yield Waiting(run, child_jobs(run))

    def record(self, job: Job, output: Any) -> JsonObject:
        """With the Worker row in the same transaction, so that /api/models/ agrees with the answer before the next heartbeat."""
        if "memory" in output:
            Worker.objects.filter(jobs=job).update(loaded_models=output["memory"])
        return {name: value for name, value in output.items() if name != "memory"}


class LoadModel(ModelCommand):
    """Fetches the weights where they are missing, and loads them; the loader may evict them again like any others."""

    name = LoadModelSpec.kind
    title = _("Load a model")
    spec_class = LoadModelSpec

    def act(self, run: Run) -> JsonObject:
        from api.model_loader import get_loader

        with run.measure("load"):
            get_loader().load(run.spec.model_id, report_to([run]))
        return {"model_id": run.spec.model_id, "loaded": True}


class UnloadModel(ModelCommand):
    """Frees a model's memory; `unloaded` is false where it was not loaded. Of several workers: in the one that it is for, or in all,
    else in the one that claims it.
    """

    name = UnloadModelSpec.kind
    title = _("Unload a model")
    spec_class = UnloadModelSpec

    def act(self, run: Run) -> JsonObject:
        from api.model_loader import get_loader

        return {"model_id": run.spec.model_id, "unloaded": get_loader().unload(run.spec.model_id)}


def child_jobs(run: Run) -> list[ChildJob]:
    """One for this worker, and for each other live worker that loads models."""
    spec: ModelSpec = run.spec
    workers = {pk for pk in (run.job.worker_id, *able_workers(spec)) if pk}
    return [
        ChildJob(spec.kind, dataclasses.replace(spec, worker=str(pk)).to_json(), only_worker_id=pk) for pk in sorted(workers)
    ]


def able_workers(spec: ModelSpec) -> list[uuid.UUID]:
    alive = live_workers()
    draining = draining_ids(alive)
    return [worker.pk for worker in alive if spec.kind in worker.kinds and worker.pk not in draining]


def outcome_of(run: Run, children: Sequence[Job]) -> Outcome:
    """Finished where all workers did it; else the error of the first that did not, with how many there were."""
    undone = [child for child in children if child.status != Status.SUCCEEDED]
    if not undone:
        workers = [{"worker": str(child.only_worker_id), "result": child.result} for child in children]
        return Finished(run, {"model_id": run.spec.model_id, "workers": workers})
    error = undone[0].error or {"code": "cancelled", "status": 409, "detail": "It was cancelled."}
    detail = f"{len(undone)} of {len(children)} workers did not. Worker {undone[0].only_worker_id}: {error['detail']}"
    return Failed(run, DarkroomError(error["code"], error["status"], detail))
