"""Retention at scale: old jobs with their pictures, events and conversations are deleted while others submit and claim.

python -m benchmarks.retention [--jobs 200000] [--files 2000] [--seconds 0] [--database postgresql://…]
python -m benchmarks.retention --filled postgresql://…/NAME [--days 180] [--seconds 600]

`--files`: so many more pictures have real files. `--seconds`: stop the deletion after so long (0: to its end). `--filled`: a database that
`benchmarks.history --filled` has filled, of which jobs older than `--days` are deleted; started again it goes on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.harness import WorkerProcess, median, parser, prepare, print_machine, print_table

PATTERN = 5000
PROBE_SECONDS = 12
DEAD = """SELECT relname, n_live_tup, n_dead_tup, autovacuum_count, PG_SIZE_PRETTY(PG_TOTAL_RELATION_SIZE(relid))
    FROM pg_stat_user_tables WHERE relname IN ('jobs_job', 'files_storedfile', 'images_generatedimage')"""
LONG_AGO = datetime(2010, 1, 1, tzinfo=UTC)
NUMBERED = ("jobs_jobevent", "chat_message")
TABLES = ("jobs_job", "jobs_jobevent", "files_storedfile", "images_generatedimage", "chat_conversation", "chat_message")
REFERENCES = {
    "jobs_jobevent": ["job_id"],
    "images_generatedimage": ["job_id", "file_id"],
    "chat_message": ["job_id", "conversation_id"],
}


def make_pattern(count: int, files: int) -> None:
    """Of ten jobs seven made a picture, one is a turn of a conversation, and all have two events."""
    from django.db import connection

    from api.chat.models import Conversation, Message
    from api.files.models import StoredFile
    from api.images.models import GeneratedImage
    from api.jobs.models import Job, JobEvent
    from tests.rows import PARAMS, make_picture

    for _ in range(files):
        make_picture()
    Job.objects.update(created_at=LONG_AGO)
    known = {"status": "succeeded", "owner_key": "local", "params": PARAMS, "prompt": "a lake"}
    times = [LONG_AGO + timedelta(days=1, seconds=number) for number in range(count)]
    jobs = [Job(kind=kind_of(number), created_at=time, **known) for number, time in enumerate(times)]
    Job.objects.bulk_create(jobs)
    JobEvent.objects.bulk_create(JobEvent(job=job, sequence=n, type="status", data={}) for job in jobs for n in (1, 2))
    pictures = [job for job in jobs if job.kind == "txt2img"]
    stored = [
        StoredFile(owner_key="local", purpose="output", name=f"output/x/{job.pk}", sha256="0" * 64, size=1, width=1, height=1)
        for job in pictures
    ]
    StoredFile.objects.bulk_create(stored)
    fields = {name: PARAMS[name] for name in ("negative_prompt", "seed", "steps", "guidance_scale", "width", "height")}
    GeneratedImage.objects.bulk_create(
        GeneratedImage(
            file=file, job=job, index=0, owner_key="local", prompt="a lake", model_id="starter", parameters={}, **fields
        )
        for file, job in zip(stored, pictures, strict=True)
    )
    chats = [job for job in jobs if job.kind == "chat"]
    talks = Conversation.objects.bulk_create(Conversation(owner_key="local") for _ in chats)
    Message.objects.bulk_create(
        Message(conversation=talk, job=job, position=0, role="user", parts=[], text="a lake")
        for talk, job in zip(talks, chats, strict=True)
    )
    with connection.cursor() as cursor:
        for table in TABLES:
            real = f"SELECT id FROM jobs_job WHERE created_at < '{LONG_AGO + timedelta(hours=1):%Y-%m-%d %H:%M}'"  # noqa: S608
            which = {"images_generatedimage": f"job_id NOT IN ({real})", "jobs_job": f"id NOT IN ({real})"}
            which["files_storedfile"] = "name LIKE 'output/x/%'"
            real = which.get(table, "TRUE")
            cursor.execute(f"CREATE TEMPORARY TABLE pattern_{table} AS SELECT * FROM {table} WHERE {real}")  # noqa: S608


def kind_of(number: int) -> str:
    return "txt2img" if number % 10 < 7 else "chat" if number % 10 == 7 else "noop"


def multiply(times: int) -> None:
    """Copies of the pattern with new ids, later ones above earlier ones, as UUIDv7 are."""
    from django.apps import apps
    from django.db import connection

    models = {model._meta.db_table: model for model in apps.get_models()}
    with connection.cursor() as cursor:
        for copy in range(1, times):
            for table in TABLES:
                columns = [field.column for field in models[table]._meta.concrete_fields]
                if table in NUMBERED:
                    columns.remove("id")
                moved = [moved_column(connection.vendor, table, column, copy * PATTERN) for column in columns]
                names = ", ".join(f'"{column}"' for column in columns)
                cursor.execute(f"INSERT INTO {table} ({names}) SELECT {', '.join(moved)} FROM pattern_{table}")  # noqa: S608
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "SELECT 1")  # SQLite's is never analysed


def moved_column(vendor: str, table: str, column: str, start: int) -> str:
    if column in REFERENCES.get(table, ["id"]):
        return moved_id(vendor, column, start)
    if table == "jobs_job" and column == "created_at":
        later = f"strftime('%Y-%m-%d %H:%M:%f', created_at, '+{start} seconds')"
        return later if vendor == "sqlite" else f"created_at + INTERVAL '{start} seconds'"
    if column == "name":
        return f"name || '-{start}'"
    return f'"{column}"'


def moved_id(vendor: str, column: str, start: int) -> str:
    """The same whichever table names it: the first 48 bits of a UUIDv7 are milliseconds, here those of a copy."""
    moved = f"{0x010000000000 + start:012x}"
    if vendor == "sqlite":
        return f"'{moved}' || substr({column}, 13)"
    return f"('{moved[:8]}-{moved[8:]}' || substr({column}::text, 14))::uuid"


# ---------------------------------------------------------------- what others notice


def probe(seconds: float) -> None:
    """In a process of its own: submits and waits for a worker, and prints the milliseconds of each submission and each claim."""
    from django.db.models import F

    from api.jobs import lifecycle
    from api.jobs.models import Job
    from tests.rows import spec_of

    submissions, ids = [], []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.monotonic()
        ids.append(lifecycle.submit_job(spec=spec_of("noop"), owner_key="probe").pk)
        submissions.append((time.monotonic() - started) * 1000)
        time.sleep(0.02)
    time.sleep(2)
    waits = Job.objects.filter(pk__in=ids, started_at__isnull=False).annotate(wait=F("started_at") - F("created_at"))
    claims = [row.wait.total_seconds() * 1000 for row in waits]
    print(describe(submissions), "/", describe(claims))


def describe(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{median(ordered):.1f}, {ordered[int(len(ordered) * 0.99)]:.0f}, {ordered[-1]:.0f} ms ({len(values)})"


def run_probe(seconds: float = PROBE_SECONDS) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.retention", "--probe", str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measured(should_stop: Callable[[], bool]) -> Any:
    from api.jobs.store.deletion_slices import Slices

    class Measured(Slices):
        def adapt(self, keys: Any, took: float) -> None:
            transactions.append(took * 1000)
            super().adapt(keys, took)

    transactions: list[float] = []
    slices = Measured(should_stop)
    slices.transactions = transactions
    return slices


def tables() -> str:
    """Rows, dead rows, autovacuums until now, and the size with indexes."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute(DEAD)
        return "; ".join(f"{table} {live} {dead} {times} {size}" for table, live, dead, times, size in cursor.fetchall())


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--jobs", type=int, default=200_000)
    arguments.add_argument("--files", type=int, default=2000)
    arguments.add_argument("--seconds", type=float, default=0)
    arguments.add_argument("--filled", default="", help="postgresql://…/NAME, filled before")
    arguments.add_argument("--days", type=int, default=30)
    arguments.add_argument("--probe", type=float, help="for the process that this command starts")
    options = arguments.parse_args()
    if options.probe:
        import django

        django.setup()
        probe(options.probe)
        return 0
    kept = {"DATABASE_URL": options.filled} if options.filled else {}
    data = prepare(options, EVENT_RETENTION_HOURS="1000", **kept)
    return measure(options, data)


def measure(options: Any, data: Any) -> int:
    from django.conf import settings

    from api.files.models import StoredFile
    from api.jobs.models import Job
    from api.jobs.worker.retention import delete_old_jobs

    if not options.filled:
        make_pattern(min(PATTERN, options.jobs), options.files)
        multiply(options.jobs // PATTERN)
    print_machine(data)
    worker = WorkerProcess(data)
    alone = run_probe().communicate()[0].strip()
    settings.JOB_RETENTION_DAYS = options.days
    before, dead_before, started = Job.objects.count(), tables(), time.monotonic()
    beside = run_probe(max(options.seconds, PROBE_SECONDS))
    slices = measured(lambda: bool(options.seconds) and time.monotonic() > started + options.seconds)
    delete_old_jobs(slices)
    took = time.monotonic() - started
    said = beside.communicate()[0].strip()
    worker.stop()
    left = [path for path in (data / "media").rglob("*") if path.is_file()]
    rows = [
        ("jobs deleted, of", f"{slices.count} of {before}"),
        ("jobs/s, pauses included", f"{slices.count / took:.0f}"),
        ("transactions (median, p99, longest)", describe(slices.transactions)),
        ("jobs in a slice at the end", str(slices.size)),
        ("submission / wait for a claim, alone (median, p99, most)", alone),
        ("the same while rows are deleted", said),
        ("files of pictures left; rows of files left", f"{len(left)}; {StoredFile.objects.count()}"),
    ]
    if dead_before:
        rows += [("tables before: rows, dead ones, autovacuums, size", dead_before), ("tables after", tables())]
    print_table(f"Retention, load {os.getloadavg()[0]:.1f}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
