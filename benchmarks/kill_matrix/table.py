"""Sittings as a table in Markdown: a row for each cell."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

COUNTED = ("lost", "doubled", "stuck", "webhooks", "files", "orphans")
OTHERS = ("answers", "failed", "stalls")
VICTIMS = ("worker", "web", "gunicorn", "postgres", "broker", "s3")


def faults_of(sitting: dict[str, Any]) -> int:
    return sum(map(len, sitting["faults"].values()))


def print_faults(sitting: dict[str, Any]) -> None:
    for name, faults in sitting["faults"].items():
        for fault in faults[:20]:
            print(f"  {name}: {fault}", flush=True)


def print_results(sittings: Sequence[dict[str, Any]]) -> None:
    cells = list(dict.fromkeys(sitting["cell"] for sitting in sittings))
    columns = ("cell", "kills", "jobs", *COUNTED, "other faults", "sent again", "tried again", "longest wait")
    print_row(columns)
    print_row(["---"] * len(columns))
    for cell in cells:
        print_row(row_of([sitting for sitting in sittings if sitting["cell"] == cell]))
    print("\nSeconds from a kill to the next end of a job, median and longest; and where the time went\n")
    print_row(("cell", *VICTIMS, "start", "kills", "until quiet", "verdict"))
    print_row(["---"] * (len(VICTIMS) + 5))
    for cell in cells:
        print_row(times_of([sitting for sitting in sittings if sitting["cell"] == cell]))


def row_of(sittings: Sequence[dict[str, Any]]) -> list[str]:
    killed: Counter[str] = sum((Counter(sitting["kills"]) for sitting in sittings), Counter())
    kills = f"{killed.total()} ({', '.join(f'{count} {name}' for name, count in sorted(killed.items()))})"
    counts = [count(sittings, name) for name in COUNTED]
    others = sum(count(sittings, name) for name in OTHERS)
    again = [sum(sitting[name] for sitting in sittings) for name in ("sent_again", "tried_again")]
    longest = max(sitting["longest_wait"] for sitting in sittings)
    jobs = sum(sitting["jobs"] for sitting in sittings)
    return [sittings[0]["cell"], kills, *map(str, [jobs, *counts, others, *again]), f"{longest:.0f} s"]


def count(sittings: Sequence[dict[str, Any]], name: str) -> int:
    return sum(len(sitting["faults"][name]) for sitting in sittings)


def times_of(sittings: Sequence[dict[str, Any]]) -> list[str]:
    recovery = [spread([time for sitting in sittings for time in sitting["recovery"].get(name, [])]) for name in VICTIMS]
    laps = [
        f"{sum(sitting['seconds'].get(name, 0.0) for sitting in sittings):.0f} s"
        for name in ("start", "kills", "until quiet", "verdict")
    ]
    return [sittings[0]["cell"], *recovery, *laps]


def spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f}, {max(seconds):.1f}" if seconds else ""


def print_row(values: Sequence[str]) -> None:
    print(f"| {' | '.join(values)} |", flush=True)
