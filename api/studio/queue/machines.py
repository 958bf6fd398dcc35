"""The workers: their memory, the models that they hold, and what each runs now."""

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from api.access.principals import Principal
from api.jobs.admin.tools import between, bytes_text, seconds_text
from api.jobs.draining import with_drains
from api.jobs.models import Job, Worker
from api.jobs.start_failures import start_failure, warm_up_failure
from api.jobs.states import Status
from api.studio.queue.rows import UNUSED, Row
from api.system.spec import LoadModelSpec
from api.system.versions import differences

SILENT_SHOWN_FOR, MOST_WORKERS = timedelta(hours=1), 64


@dataclass(frozen=True)
class Memory:
    used: int
    total: int

    @property
    def percent(self) -> int:
        return round(100 * self.used / max(self.total, 1))

    @property
    def text(self) -> str:
        return f"{bytes_text(self.used)} / {bytes_text(self.total)}"


@dataclass(frozen=True)
class Machine:
    worker: Worker
    rows: list[Row]
    """What it runs and this person may see."""
    others: list[str]
    """The kinds of what it runs for others."""

    @property
    def device(self) -> Mapping[str, Any]:
        return self.worker.device.get("device") or {}

    @property
    def device_name(self) -> str:
        """'' of a worker that has just started."""
        return str(self.device.get("name") or self.device.get("type") or "")

    @property
    def models(self) -> list[dict[str, str]]:
        return [{"id": model["id"], "size": bytes_text(model.get("bytes"))} for model in self.worker.loaded_models]

    @property
    def model_memory(self) -> Memory | None:
        total = self.device.get("memory_total")
        return Memory(sum(model.get("bytes", 0) for model in self.worker.loaded_models), total) if total else None

    @property
    def main_memory(self) -> Memory | None:
        memory = self.worker.device.get("memory")
        return Memory(memory["total"] - memory["available"], memory["total"]) if memory else None

    @property
    def silence(self) -> float:
        return between(self.worker.heartbeat_at, timezone.now()) or 0.0

    @property
    def is_alive(self) -> bool:
        return self.silence < settings.JOB_LEASE_SECONDS

    @property
    def heartbeat(self) -> str:
        return seconds_text(self.silence) if self.silence >= 60 else f"{max(self.silence, 0):.0f} s"

    @property
    def loads_models(self) -> bool:
        return self.is_alive and LoadModelSpec.kind in self.worker.kinds


def machines_context(principal: Principal) -> dict[str, object]:
    machines = find_machines(principal)
    alive = [machine.worker for machine in machines if machine.is_alive]
    return {
        "machines": machines,
        "versions": differences(),
        "start_failure": start_failure(),
        "warm_up_failure": warm_up_failure(alive),
        "may_command": principal.is_staff,
    }


def find_machines(principal: Principal) -> list[Machine]:
    """Those at work, and those that went silent in the last hour."""
    recent = Worker.objects.filter(heartbeat_at__gte=Now() - SILENT_SHOWN_FOR).exclude(state=Worker.State.STOPPED)
    workers = with_drains(recent.order_by("-pk")[:MOST_WORKERS])
    running = running_on(workers)
    return [Machine(worker, *seen_by(principal, running[worker.pk])) for worker in workers]


def running_on(workers: list[Worker]) -> dict[uuid.UUID, list[Job]]:
    found: dict[uuid.UUID, list[Job]] = defaultdict(list)
    for job in Job.objects.filter(status=Status.RUNNING, worker__in=workers).defer(*UNUSED).order_by("pk"):
        found[job.worker_id].append(job)  # type: ignore[index]  # these have one
    return found


def seen_by(principal: Principal, jobs: list[Job]) -> tuple[list[Row], list[str]]:
    mine = [Row(job) for job in jobs if principal.is_staff or job.owner_key == principal.owner_key]
    return mine, [job.kind for job in jobs if not principal.is_staff and job.owner_key != principal.owner_key]
