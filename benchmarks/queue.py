"""How many jobs a second go through the queue, submit to done, with a kind that does nothing.

python -m benchmarks.queue [--jobs 2000] [--submitters 4] [--workers 1] [--kind noop|batched] [--database postgresql://…]

With more than one worker: first one alone, then all of them, in the same run, and the ratio of their rates.
"""

import multiprocessing
import os
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.database_load import DatabaseLoad
from benchmarks.harness import WorkerProcess, parser, prepare, print_machine, print_table, until


def submit_many(kind: str, count: int) -> None:
    import django

    django.setup()
    from api.jobs import lifecycle
    from api.jobs.kinds import get_kind

    for _ in range(count):
        spec = get_kind(kind).spec_class.from_row({}, kind=kind, model_id="", prompt="")
        lifecycle.submit_job(spec=spec, owner_key="benchmark")


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--jobs", type=int, default=2000)
    arguments.add_argument("--submitters", type=int, default=4)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--kind", default="noop", choices=["noop", "batched"])
    options = arguments.parse_args()
    data = prepare(options)
    print_machine(data)
    rates = [measure(data, options, count) for count in sorted({1, options.workers})]
    if len(rates) > 1:
        print_table(f"{options.workers} workers over one", [("ratio", f"{rates[1] / rates[0]:.2f}")])
    return 0


def measure(data: Path, options: Namespace, count: int) -> float:
    """Jobs a second, from the first submission to the last end, with so many workers."""
    workers = [WorkerProcess(data) for _ in range(count)]
    before = sum(processor_seconds(worker) for worker in workers)
    load = start_load() if options.database else None
    submitted = submit_all(options)
    done = spent_until_done(options)
    rows = load.stop() if load else []
    spent = sum(processor_seconds(worker) for worker in workers) - before
    for worker in workers:
        worker.stop()
    title = (
        f"Queue: {done.jobs} jobs of the kind '{options.kind}', {options.submitters} submitting processes, {count} worker(s)"
    )
    figures = [
        ("submitted", f"{done.jobs / done.inserting:.0f} jobs/s"),
        ("submit to done", f"{done.jobs / done.through:.0f} jobs/s"),
        ("with the submitters' start", f"{submitted:.1f} s"),
        ("processor time of the workers", f"{spent / done.jobs * 1000:.2f} ms a job"),
    ]
    print_table(title, figures + rows)
    return done.jobs / done.through


def processor_seconds(worker: WorkerProcess) -> float:
    return float(sum(psutil.Process(worker.process.pid).cpu_times()[:2]))


def start_load() -> DatabaseLoad:
    load = DatabaseLoad(os.environ["DATABASE_URL"])
    load.start()
    return load


def submit_all(options: Namespace) -> float:
    """Seconds that it took, the start of the processes included."""
    from api.jobs.models import Job

    Job.objects.all().delete()
    context = multiprocessing.get_context("spawn")
    each, started = options.jobs // options.submitters, time.monotonic()
    submitters = [context.Process(target=submit_many, args=(options.kind, each)) for _ in range(options.submitters)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    return time.monotonic() - started


@dataclass(frozen=True)
class Done:
    jobs: int
    inserting: float
    through: float


def spent_until_done(options: Namespace) -> Done:
    """Seconds from the first row to the last, and to the last end, by the database's clock."""
    from django.db.models import Max, Min

    from api.jobs.models import Job

    count = options.jobs // options.submitters * options.submitters
    until(lambda: Job.objects.filter(status="succeeded").count() == count, 600)
    times = Job.objects.aggregate(first=Min("created_at"), last_in=Max("created_at"), done=Max("finished_at"))
    inserting, through = (times[name] - times["first"] for name in ("last_in", "done"))
    return Done(count, inserting.total_seconds(), through.total_seconds())


if __name__ == "__main__":
    sys.exit(main())
