"""A long history: a page of /api/jobs/ filtered by status and model, and the admin's list, with a million jobs behind them.

python -m benchmarks.history [--jobs 1000000] [--database postgresql://…]
python -m benchmarks.history --filled postgresql://…/NAME [--jobs 10000000]

`--filled`: a database of its own that stays; where it is empty it is filled first, by the database itself, with jobs of 1,000 owners and
pictures of each fifth, for the studio's gallery.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from benchmarks.harness import median, parser, prepare, print_machine, print_table

CHUNK = 5000
MODELS = ("starter", "sdxl-base-1.0", "stable-diffusion-v1-5", "sd-turbo")
STATUSES = ("succeeded",) * 17 + ("failed", "failed", "cancelled")


FILLED_PAGES = {
    "a day half a year ago": f"/api/jobs/?created_after={date.today() - timedelta(180)}T00:00:00Z"
    f"&created_before={date.today() - timedelta(179)}T00:00:00Z",
    "admin list, an owner's": "/admin/jobs/job/?q=owner:owner-7",
    "admin list, a word that nobody used": "/admin/jobs/job/?q=zebra",
    "gallery": "/studio/gallery/",
    "gallery, best match": "/studio/gallery/?order=match",
    "gallery, best rated": "/studio/gallery/?order=rating",
    "gallery, a word that nobody used": "/studio/gallery/?q=zebra",
}


def fill(count: int) -> None:
    """The first chunk row by row; the others as copies of it with new ids, later ones above earlier ones, as UUIDv7 are."""
    from django.db import connection

    from api.jobs.models import Job

    Job.objects.bulk_create(make_job(number) for number in range(min(CHUNK, count)))
    columns = [field.column for field in Job._meta.concrete_fields if field.name != "id"]
    names = ", ".join(f'"{name}"' for name in columns)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE pattern AS SELECT * FROM jobs_job")
        for start in range(CHUNK, count, CHUNK):
            copies = f"SELECT {new_id(connection.vendor, start)}, {names} FROM pattern ORDER BY id"  # noqa: S608  (our own names)
            cursor.execute(f"INSERT INTO jobs_job (id, {names}) {copies}")


def fill_once(count: int) -> None:
    from api.jobs.models import Job
    from benchmarks.filling import fill_postgres

    if not Job.objects.exists():
        fill_postgres(count)


def new_id(vendor: str, start: int) -> str:
    """The pattern's ids, with their first 48 bits (milliseconds) moved on."""
    moved = f"{int(time.time() * 1000) + start:012x}"
    if vendor == "sqlite":
        return f"'{moved}' || substr(id, 13)"
    return f"('{moved[:8]}-{moved[8:]}' || substr(id::text, 14))::uuid"


def make_job(number: int) -> Any:
    from api.jobs.models import Job

    return Job(
        kind="noop",
        status=STATUSES[number % 20],
        model_id=MODELS[number % 7 % 4],
        prompt=f"A serene lake at sunset, number {number}",
        params={"steps": 20, "seed": number},
        owner_key="local",
    )


def milliseconds(call: Callable[[], Any], times: int = 15) -> str:
    """Beside the median the quickest and the processor time of this process: on a machine that others use, these say more."""
    values, spent = [], time.process_time()
    for _ in range(times):
        started = time.monotonic()
        call()
        values.append((time.monotonic() - started) * 1000)
    spent = (time.process_time() - spent) / times * 1000
    return f"median {median(values):.1f}, quickest {min(values):.1f} ms (this process {spent:.1f} ms)"


class Visitor:
    """A person of the admin's site, in this process."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User
        from django.test import Client

        self.client = Client()
        self.client.force_login(User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)[0])

    def get(self, path: str) -> None:
        reply = self.client.get(path)
        assert reply.status_code == 200, (path, reply.status_code, reply.content[:300])

    def at_the_database(self, path: str) -> str:
        """Some calls' sum of query times."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        sums = []
        for _ in range(5):
            with CaptureQueriesContext(connection) as queries:
                self.get(path)
            sums.append(sum(float(query["time"]) for query in queries.captured_queries) * 1000)
        return f"{median(sums):.1f}, quickest {min(sums):.1f} ms in {len(queries)} queries"

    def measure(self, path: str) -> str:
        try:
            return f"{milliseconds(lambda: self.get(path))}; at the database {self.at_the_database(path)}"
        except AssertionError as error:
            return f"not measured: {error}"

    def pages(self, jobs: int) -> dict[str, str]:
        filtered = "/api/jobs/?status=failed&model_id=sd-turbo"
        deep = filtered
        for _ in range(min(50, jobs // 2000)):
            deep = self.client.get(deep).json()["next"]
        return {
            "/api/jobs/": "/api/jobs/",
            "by status and model": filtered,
            "by status and model, 51st page": deep,
            "by kind, 100 rows": "/api/jobs/?kind=noop&limit=100",
            "in progress (none)": "/api/jobs/?status=running",
            "admin list": "/admin/jobs/job/",
            "admin list, failed": "/admin/jobs/job/?status__exact=failed",
        }


def fill_as_asked(options: Namespace) -> float:
    """How many seconds it took."""
    from django.db import connection

    started = time.monotonic()
    (fill_once if options.filled else fill)(options.jobs)
    seconds = time.monotonic() - started
    if not options.filled:  # which was vacuumed, too
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return seconds


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--jobs", type=int, default=1_000_000)
    arguments.add_argument("--filled", default="", help="postgresql://…/NAME, which is filled once and stays")
    options = arguments.parse_args()
    kept = {"DATABASE_URL": options.filled} if options.filled else {}
    data = prepare(options, ALLOWED_HOSTS="testserver,localhost,127.0.0.1", **kept)
    print_machine(data)
    seconds = fill_as_asked(options)
    from api.jobs.models import Job

    visitor = Visitor()
    pages = visitor.pages(options.jobs) | (FILLED_PAGES if options.filled else {})
    rows = [(f"{Job.objects.count()} rows, inserted in", f"{seconds:.0f} s")]
    print_table("A long history", rows + [(name, visitor.measure(path)) for name, path in pages.items()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
