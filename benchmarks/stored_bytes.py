"""What a submission costs an owner who keeps many files, with a quota of `stored_bytes` and without one, in turn with adding up all of
them each time.

python -m benchmarks.stored_bytes [--files 100000] [--rounds 200] [--database postgresql://…]
"""

import random
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import median, parser, prepare, print_machine, print_table

OWNER = "owner"


def make_files(count: int) -> None:
    from django.db import connection

    numbers = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"  # noqa: S608
    if connection.vendor == "postgresql":
        age, name = f"NOW() - INTERVAL '1 second' * ({count} - i)", "GEN_RANDOM_UUID()"
    else:
        age, name = f"STRFTIME('%Y-%m-%d %H:%M:%f', 'now', '-' || ({count} - i) || ' seconds')", "LOWER(HEX(RANDOMBLOB(16)))"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""{numbers} INSERT INTO files_storedfile
                (id, owner_key, purpose, name, sha256, content_type, size, width, height, created_at)
            SELECT {name}, '{OWNER}', 'output', 'output/' || i, 'a', 'image/png', 1000000 + i, 512, 512, {age} FROM n"""  # noqa: S608
        )


def time_in_turn(calls: dict[str, Callable[[], Any]], rounds: int, after: Callable[[], Any]) -> list[tuple[str, str]]:
    spans: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in random.sample(list(calls.items()), len(calls)):  # none is always the one after the deletion
            started = time.perf_counter()
            call()
            spans[name].append((time.perf_counter() - started) * 1000)
        after()
    first = median(next(iter(spans.values())))
    return [
        (name, f"{median(found):7.2f} ms, p95 {sorted(found)[len(found) * 95 // 100]:7.2f}; {median(found) - first:+.2f}")
        for name, found in spans.items()
    ]


def main() -> None:
    own = parser(str(__doc__))
    own.add_argument("--files", type=int, default=100_000)
    own.add_argument("--rounds", type=int, default=200)
    options = own.parse_args()
    data = prepare(options)
    from api.access.scopes import OwnerLimits
    from api.errors import DarkroomError
    from api.files.kept_bytes import stored_bytes, stored_bytes_within
    from api.files.models import KeptBytes
    from api.jobs import lifecycle
    from api.jobs.models import Job
    from api.jobs.store.usage import register_stored_bytes
    from api.quotas import quotas_in_force
    from tests.rows import spec_of

    started = time.perf_counter()
    make_files(options.files)
    print_machine(data)
    print(f"{options.files} files in {time.perf_counter() - started:.0f} s")

    def submit(quotas: dict[str, int | None]) -> None:
        limits = OwnerLimits(quotas=quotas_in_force(quotas, {}))
        try:
            lifecycle.submit_job(spec=spec_of("picture", {}), owner_key=OWNER, limits=limits)
        except DarkroomError:
            pass

    def submit_all_summed() -> None:
        register_stored_bytes(stored_bytes, lambda owner, room: stored_bytes(owner))
        submit({"jobs_per_day": 10**9, "stored_bytes": 2**59})
        register_stored_bytes(stored_bytes, stored_bytes_within)

    def submit_for_the_first_time() -> None:
        KeptBytes.objects.all().delete()
        submit({"jobs_per_day": 10**9, "stored_bytes": 2**59})

    calls: dict[str, Callable[[], Any]] = {
        "a quota of jobs": lambda: submit({"jobs_per_day": 10**9}),
        "and one of stored_bytes": lambda: submit({"jobs_per_day": 10**9, "stored_bytes": 2**59}),
        "refused": lambda: submit({"jobs_per_day": 10**9, "stored_bytes": 2**20}),
        "all summed up each time": submit_all_summed,
        "the first, or the first in an hour": submit_for_the_first_time,
    }
    for call in calls.values():
        call()
    print_table("A submission", time_in_turn(calls, options.rounds, Job.objects.all().delete))


if __name__ == "__main__":
    main()
