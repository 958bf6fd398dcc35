"""One sitting of one cell, in a process of its own: `python -m benchmarks.kill_matrix.sitting CELL --report FILE`."""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks.harness import prepare
from benchmarks.kill_matrix.cells import CELLS, Cell

LEASE = {"JOB_LEASE_SECONDS": "8", "JOB_HEARTBEAT_SECONDS": "2"}
JOBS_PER_KILL = 10
QUIET_SECONDS = 150.0
ORPHAN_SECONDS = 20.0


class Sitting:
    def __init__(self, cell: Cell, options: Namespace) -> None:
        self.cell, self.options = cell, options
        self.seconds: dict[str, float] = {}
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        print(f"  {self.cell.name:<26} {time.monotonic() - self.started:5.0f} s  {text}", flush=True)

    def run(self) -> dict[str, Any]:
        from benchmarks.kill_matrix.parts import Parts

        with tempfile.TemporaryDirectory(prefix="darkroom-kills-") as folder:
            parts = Parts(self.cell, Path(folder))
            data = self.prepare(parts)
            parts.start_server(data)
            self.lap("start")
            return self.run_with(parts, data)

    def prepare(self, parts: Any) -> Path:
        from benchmarks.webhooks import RETRY_SECONDS

        where = Namespace(database=parts.postgres.url if parts.postgres else "", folder=self.options.folder)
        models = {"LOAD_MODELS": "false" if self.options.no_models else "true"}
        hooks = {"WEBHOOK_ALLOW_PRIVATE": "true", "WEBHOOK_RETRY_SECONDS": RETRY_SECONDS}
        own = {"DJANGO_SETTINGS_MODULE": "benchmarks.kill_matrix.settings", **LEASE, **models, **hooks, **parts.environment}
        return prepare(where, **own)

    def run_with(self, parts: Any, data: Path) -> dict[str, Any]:
        from api.webhooks.settings_of_keys import settings_of
        from benchmarks.kill_matrix.killer import Killer
        from benchmarks.kill_matrix.load import Load
        from benchmarks.webhooks import FaultyReceiver

        killer = Killer(parts, self.options.kills, self.options.seed, JOBS_PER_KILL, self.say)
        signal.signal(signal.SIGINT, lambda *_: setattr(killer, "stopped", True))  # what was killed so far is judged
        with FaultyReceiver(self.options.seed, settings_of("local").read_secret()) as receiver:
            load = Load(parts.server.url, receiver, lambda number: number < killer.may_be_sent)
            load.start()
            killer.kill_all()
            self.lap("kills")
            load.end()
            load.join()
            self.wait_until_quiet(load)
            self.lap("until quiet")
            return self.judge(parts, data, killer, load, receiver)

    def wait_until_quiet(self, load: Any) -> None:
        """Nothing under way and no webhook to be sent, or nothing that moves any more."""
        from api.jobs.models import Job, JobEnding
        from api.webhooks.models import Delivery
        from benchmarks.kill_matrix.killer import when_back

        def left() -> int:
            jobs = Job.objects.filter(status__in=["queued", "running"]).count()
            unread = JobEnding.objects.filter(dispatched=False).count()
            return jobs + unread + Delivery.objects.filter(status="pending").count()

        before, moved = -1, time.monotonic()
        while before != 0 and time.monotonic() - moved < QUIET_SECONDS:
            now = when_back(left)
            if now != before:
                before, moved = now, time.monotonic()
            time.sleep(0.2)

    def judge(self, parts: Any, data: Path, killer: Any, load: Any, receiver: Any) -> dict[str, Any]:
        from benchmarks.kill_matrix.verdict import describe, judge

        faults = judge(load, parts, receiver)
        told = describe(load)
        parts.stop_server()
        faults["orphans"] = self.find_orphans(data)
        faults["stalls"] = killer.stalls
        self.lap("verdict")
        if any(faults.values()) and self.options.keep_logs:
            self.keep_logs(data)
        return {
            "cell": self.cell.name,
            "seed": self.options.seed,
            "kills": dict(killer.killed),
            "recovery": {name: [round(seconds, 2) for seconds in times] for name, times in killer.recovery.items()},
            "seconds": self.seconds,
            "webhooks_cut_short": receiver.cut_short,
            "webhooks_again": sum(count - 1 for count in receiver.answered.values()),
            **told,
            "faults": faults,
        }

    def find_orphans(self, data: Path) -> list[str]:
        from benchmarks.kill_matrix.parts import processes_of
        from benchmarks.kill_test import command_of, kill

        deadline = time.monotonic() + ORPHAN_SECONDS
        while (left := processes_of(data)) and time.monotonic() < deadline:
            time.sleep(0.2)
        found = [f"{process.pid} {' '.join(command_of(process))}" for process in left]
        for process in left:
            kill(process)
        return found

    def keep_logs(self, data: Path) -> None:
        folder = Path(self.options.keep_logs) / f"{self.cell.name}-{self.options.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        for log in data.glob("*.log"):
            (folder / log.name).write_bytes(log.read_bytes())

    def lap(self, name: str) -> None:
        self.seconds[name] = round(time.monotonic() - self.started - sum(self.seconds.values()), 1)


def end_with_parent() -> None:
    """Where the command that started this is gone, its end of the pipe is, too."""
    os.read(0, 1)  # not by Python's own reader, whose lock this thread would hold at the end
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("cell", choices=CELLS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep-logs", default="")
    parser.add_argument("--no-models", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by which atexit ends what was started
    threading.Thread(target=end_with_parent, daemon=True).start()
    report = Sitting(CELLS[options.cell], options).run()
    options.report.write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
