"""What a sitting cost: nothing, or each thing that is wrong in a word."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Max, Q

from benchmarks.kill_matrix.load import Load
from benchmarks.kill_matrix.parts import Parts
from benchmarks.webhooks import FaultyReceiver

CHILDREN = {"parent": 3, "grid": 4}
PICTURES = {"txt2img": 1, "img2img": 1, "picture": 1, "grid": 1}


def judge(load: Load, parts: Parts, receiver: FaultyReceiver) -> dict[str, list[str]]:
    """What is wrong, by its kind: names of keys and jobs, for whoever looks into it."""
    return {
        "lost": [*find_lost(load), *find_lost_uploads(load)],
        "doubled": [*find_doubled(load), *find_doubled_effects()],
        "stuck": find_stuck(),
        "webhooks": find_wrong_webhooks(load, receiver),
        "files": find_wrong_files(parts),
        "answers": [*load.wrong],
        "failed": find_failed(),
    }


def find_lost(load: Load) -> Iterable[str]:
    from api.jobs.models import Job

    ended = {str(pk) for pk in Job.objects.filter(finished_at__isnull=False).values_list("pk", flat=True)}
    for number in sorted(load.begun):
        ids = load.accepted.get(f"job-{number}", set())
        if not ids & ended:
            yield f"job-{number} {sorted(ids)}"


def find_lost_uploads(load: Load) -> Iterable[str]:
    from api.files.models import StoredFile
    from api.files.services import read_file

    for identifier in load.uploads:
        file = StoredFile.objects.filter(pk=identifier).first()
        if file is None or hashlib.sha256(read_file(file)).hexdigest() != file.sha256:
            yield f"upload {identifier}"


def find_doubled(load: Load) -> Iterable[str]:
    from api.jobs.models import Job

    yield from (f"{key} {sorted(ids)}" for key, ids in load.accepted.items() if len(ids) > 1)
    keys = Job.objects.filter(idempotency_key__isnull=False).values("idempotency_key").annotate(n=Count("pk")).order_by()
    yield from (str(row["idempotency_key"]) for row in keys if row["n"] > 1)
    known = {identifier for ids in load.accepted.values() for identifier in ids}
    roots = Job.objects.filter(parent=None).values_list("pk", flat=True)
    yield from (f"unknown job {pk}" for pk in roots if str(pk) not in known)


def find_doubled_effects() -> Iterable[str]:
    from api.jobs.models import Job, JobEnding, JobEvent

    endings = JobEnding.objects.order_by().values("job_id").annotate(n=Count("pk"))
    yield from (f"{row['n']} ends of {row['job_id']}" for row in endings if row["n"] != 1)
    results = JobEvent.objects.filter(type="result").order_by().values("job").annotate(n=Count("pk")).filter(n__gt=1)
    yield from (f"{row['n']} results of {row['job']}" for row in results)
    for job in Job.objects.filter(status="succeeded").annotate(pictures=Count("images", distinct=True)):
        wanted = PICTURES.get(job.kind, 0) * (job.params.get("num_images") or 1)
        if job.pictures != wanted:
            yield f"{job.pictures} pictures of {job.kind} {job.pk}, not {wanted}"
    for parent in Job.objects.filter(kind__in=CHILDREN, status="succeeded").annotate(n=Count("children")):
        if parent.n != (parent.params.get("count") or CHILDREN[parent.kind]):
            yield f"{parent.n} children of {parent.kind} {parent.pk}"
    others = Job.objects.exclude(status="succeeded").annotate(pictures=Count("images")).filter(pictures__gt=0)
    yield from (f"pictures of {job.status} {job.pk}" for job in others)


def find_stuck() -> list[str]:
    from api.jobs.models import Job
    from api.jobs.states import ACTIVE

    return [f"{job.status} {job.kind} {job.pk}" for job in Job.objects.filter(status__in=ACTIVE)]


def find_wrong_webhooks(load: Load, receiver: FaultyReceiver) -> list[str]:
    """Each job has one event, which has one id however often it is sent, and was answered with 200 once at least."""
    from api.webhooks.models import Delivery

    ids: dict[str, set[str]] = defaultdict(set)
    for path, headers, _ in receiver.heard:
        ids[path].add(headers["webhook-id"])
    asked = {f"/random/{key.removeprefix('job-')}" for key in load.accepted}
    found = [f"{path} never answered" for path in sorted(asked - set(receiver.answered))]
    found += [f"{path} has {len(some)} events" for path, some in ids.items() if len(some) > 1]
    found += [f"{row} {row.status}" for row in Delivery.objects.exclude(status="delivered")]
    found += [f"a wrong signature at {error}" for error in receiver.errors]
    deliveries = Delivery.objects.order_by().values("job_id").annotate(n=Count("pk")).filter(n__gt=1)
    return found + [f"{row['n']} deliveries of {row['job_id']}" for row in deliveries]


def find_wrong_files(parts: Parts) -> list[str]:
    from api.files.models import StoredFile
    from api.files.services import read_file
    from api.files.sweep import sweep_orphans

    sweep_orphans(older_than=timedelta(0))
    stored = parts.stored_names()
    in_rows = {name for pair in StoredFile.objects.values_list("name", "thumbnail_name") for name in pair if name}
    found = [f"row without file: {name}" for name in sorted(in_rows - stored)]
    found += [f"file without row: {name}" for name in sorted(stored - in_rows)]
    whole = [file for file in StoredFile.objects.all() if file.name in stored]
    return found + [f"other bytes: {file.name}" for file in whole if hashlib.sha256(read_file(file)).hexdigest() != file.sha256]


def find_failed() -> list[str]:
    """None of what is sent fails by itself."""
    from api.jobs.models import Job

    return [f"{job.kind} {job.pk} attempt {job.attempt}: {job.error}" for job in Job.objects.filter(status="failed")]


def describe(load: Load) -> dict[str, Any]:
    """What a reader wants to know beside the faults."""
    from api.jobs.models import Job

    waits = Job.objects.filter(finished_at__isnull=False).aggregate(longest=Max(F("finished_at") - F("created_at")))
    states = Counter(Job.objects.values_list("status", flat=True))
    again = Job.objects.aggregate(n=Count("pk", filter=Q(attempt__gt=1)), most=Max("attempt"))
    return {
        "jobs": sum(states.values()),
        "states": dict(states),
        "uploads": len(load.uploads),
        "sent_again": load.again,
        "tried_again": again["n"],
        "most_attempts": again["most"],
        "longest_wait": waits["longest"].total_seconds() if waits["longest"] else 0.0,
        "longest_answer": load.longest,
        "answers": {str(code): count for code, count in load.answers.items()},
    }
