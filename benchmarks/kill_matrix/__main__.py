"""Kills every part of a server in every shape that README offers, while clients send jobs, and counts what that cost; 1 if anything.

    python -m benchmarks.kill_matrix                                    20 kills in each of the twelve cells
    python -m benchmarks.kill_matrix --cells postgres-s3,sqlite         those whose names have all parts of one of these words
    python -m benchmarks.kill_matrix --kills 200 --state kills.json     stopped with Ctrl-C, it goes on where it was

One Ctrl-C ends the kills of the sitting that runs, and judges it; a second one drops it. Needs redis-server, rabbitmq-server and
PostgreSQL from the system's packages, each started on a port and in a folder of its own, and requirements-dev.txt.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.harness import parser, processor
from benchmarks.kill_matrix.cells import CELLS, Cell, choose_cells
from benchmarks.kill_matrix.table import faults_of, print_faults, print_results
from tests.live import ROOT


class State:
    """The sittings that were judged, in a file where one is named."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.sittings: list[dict[str, Any]] = json.loads(path.read_text()) if path and path.exists() else []

    def add(self, sitting: dict[str, Any]) -> None:
        self.sittings.append(sitting)
        if self.path:
            part = self.path.with_name(self.path.name + ".part")
            part.write_text(json.dumps(self.sittings, indent=1))
            os.replace(part, self.path)

    def of(self, cell: Cell) -> list[dict[str, Any]]:
        return [sitting for sitting in self.sittings if sitting["cell"] == cell.name]

    def kills(self, cell: Cell) -> int:
        return sum(sum(sitting["kills"].values()) for sitting in self.of(cell))


class Matrix:
    def __init__(self, options: Namespace, state: State) -> None:
        self.options, self.state = options, state
        self.stops = 0
        self.running: subprocess.Popen[bytes] | None = None

    def stop(self, *_: object) -> None:
        """Ctrl-C: a sitting is no part of the terminal's group, and is told in turn to judge what it has, and to end."""
        self.stops += 1
        if self.running is not None:
            self.running.send_signal(signal.SIGINT if self.stops == 1 else signal.SIGTERM)

    def run(self, cells: list[Cell]) -> None:
        """In rounds of one sitting for each cell, so that a long run that is stopped has tried all of them."""
        while not self.stops:
            due = [cell for cell in cells if self.state.kills(cell) < self.options.kills]
            if not due:
                return
            for cell in due:
                if not self.stops:
                    self.sit(cell)

    def sit(self, cell: Cell) -> None:
        kills = min(self.options.sitting, self.options.kills - self.state.kills(cell))
        seed = self.options.seed + len(self.state.of(cell))
        print(f"{cell.name}: {kills} kills, seed {seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [sys.executable, "-m", "benchmarks.kill_matrix.sitting", cell.name, "--kills", str(kills)]
            command += ["--seed", str(seed), "--report", str(report), "--keep-logs", self.options.keep_logs]
            command += ["--no-models"] if self.options.no_models else []
            command += ["--folder", str(self.options.folder)] if self.options.folder else []
            self.running = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)
            status = self.running.wait()
            self.running = None
            if report.exists():
                self.keep(json.loads(report.read_text()))
            elif not self.stops:
                raise SystemExit(f"The sitting of {cell.name} ended with status {status} and without a verdict.")

    def keep(self, sitting: dict[str, Any]) -> None:
        if sum(sitting["kills"].values()):
            self.state.add(sitting)
            print_faults(sitting)


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--cells", default="", help=f"of {', '.join(CELLS)}")
    arguments.add_argument("--kills", type=int, default=20, help="of each cell")
    arguments.add_argument("--sitting", type=int, default=20, help="kills of one server, after which all is counted")
    arguments.add_argument("--state", type=Path, help="a file of what was tried so far")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep-logs", default="", help="a folder for the logs of sittings in which something was wrong")
    arguments.add_argument("--no-models", action="store_true", help="flat pictures in the place of the starter's: quicker")
    options = arguments.parse_args()
    cells = choose_cells(options.cells)
    if not cells:
        arguments.error(f"--cells names none of {', '.join(CELLS)}.")
    state = State(options.state)
    matrix = Matrix(options, state)
    signal.signal(signal.SIGINT, matrix.stop)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    matrix.run(cells)
    done = [sitting for cell in cells for sitting in state.of(cell)]
    print_results(done)
    return 1 if any(faults_of(sitting) for sitting in done) else 0


if __name__ == "__main__":
    sys.exit(main())
