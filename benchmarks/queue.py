"""How many jobs a second go through the queue, submit to done, with a kind that does nothing.

python -m benchmarks.queue [--jobs 2000] [--submitters 4] [--kind noop|batched] [--database postgresql://…] [--folder /dev/shm]
"""

import multiprocessing
import sys
import time

import psutil

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
    arguments.add_argument("--kind", default="noop", choices=["noop", "batched"])
    options = arguments.parse_args()
    data = prepare(options)
    print_machine(data)
    from django.db.models import Max, Min

    from api.jobs.models import Job

    worker = WorkerProcess(data)
    process = psutil.Process(worker.process.pid)
    spent_before = sum(process.cpu_times()[:2])
    context = multiprocessing.get_context("spawn")
    each = options.jobs // options.submitters
    started = time.monotonic()
    submitters = [context.Process(target=submit_many, args=(options.kind, each)) for _ in range(options.submitters)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    submitted = time.monotonic() - started
    until(lambda: Job.objects.filter(status="succeeded").count() == each * options.submitters, 600)
    spent = sum(process.cpu_times()[:2]) - spent_before
    worker.stop()
    times = Job.objects.aggregate(first=Min("created_at"), last_in=Max("created_at"), done=Max("finished_at"))
    inserting = (times["last_in"] - times["first"]).total_seconds()
    through = (times["done"] - times["first"]).total_seconds()
    count = each * options.submitters
    print_table(
        f"Queue: {count} jobs of the kind '{options.kind}', {options.submitters} submitting processes, one worker",
        [
            ("submitted", f"{count / inserting:.0f} jobs/s"),
            ("submit to done", f"{count / through:.0f} jobs/s"),
            ("with the submitters' start", f"{submitted:.1f} s"),
            ("processor time of the worker", f"{spent / count * 1000:.2f} ms a job"),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
