"""Scheduler steps of 16 rows: diffusers' objects one after the other, against tables of coefficients for all rows at once.

    OMP_NUM_THREADS=1 python -m benchmarks.scheduler_steps [--sizes 8 64 128] [--rounds 3] [--only euler unipc]

Microseconds of this thread's processor time for one pass of all rows: scaling the model's input, drawing noise and the step, without
a model. Each pass counts as the fastest of some rounds, since other work on the machine only slows it down; the mean over all passes
is shown. `mixed` has a row of each scheduler, without the Karras variants. `read` is what reading a table takes, once, in ms.
"""

import copy
import inspect
import os
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch

from api.images.backends.engine.coefficients import CoefficientTable, extract
from api.images.backends.engine.table_steps import TableRow, advance, draw_noise, model_inputs
from api.images.backends.schedulers import make_scheduler
from api.images.scheduler_presets import SCHEDULER_NAMES, SCHEDULERS

ROWS, STEPS, CHANNELS = 16, 20, 4
MIXED = tuple(name for name in SCHEDULER_NAMES if not name.endswith("_karras"))
OWN = diffusers.PNDMScheduler(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    steps_offset=1,
    set_alpha_to_one=False,
    skip_prk_steps=True,
)
"""As SD 1.5 has it."""


def prepare_scheduler(name: str) -> Any:
    scheduler = make_scheduler(name, OWN, "sd1")
    scheduler.set_timesteps(STEPS)
    return scheduler


class Objects:
    """Rows as the pipelines step them."""

    def __init__(self, schedulers: dict[str, Any], names: Sequence[str], latents: torch.Tensor) -> None:
        self._rows = []
        for name, start in zip(names, latents.split(1), strict=True):
            scheduler = copy.deepcopy(schedulers[name])  # a constructor can take 200 ms
            known = inspect.signature(scheduler.step).parameters
            offered = {"eta": SCHEDULERS[name].eta, "generator": torch.Generator().manual_seed(0)}
            self._rows.append([scheduler, start, {key: value for key, value in offered.items() if key in known}])

    def run_pass(self, index: int, outputs: torch.Tensor) -> None:
        scaled = [scheduler.scale_model_input(latents, scheduler.timesteps[index]) for scheduler, latents, _ in self._rows]
        torch.cat(scaled)
        for row, output in zip(self._rows, outputs.split(1), strict=True):
            scheduler, latents, arguments = row
            row[1] = scheduler.step(output, scheduler.timesteps[index], latents, **arguments, return_dict=False)[0]


class Tables:
    def __init__(self, tables: dict[str, CoefficientTable], names: Sequence[str], latents: torch.Tensor) -> None:
        self._rows = [
            TableRow(tables[name], start, torch.Generator().manual_seed(0))
            for name, start in zip(names, latents.split(1), strict=True)
        ]

    def run_pass(self, index: int, outputs: torch.Tensor) -> None:
        model_inputs(self._rows)
        advance(self._rows, outputs)


class NoiseAlone(Tables):
    def run_pass(self, index: int, outputs: torch.Tensor) -> None:
        draw_noise(self._rows)
        for row in self._rows:
            row.position += 1


def measure(make_rows: Callable[[], Any], size: int, passes: int, rounds: int) -> float:
    """Microseconds a pass."""
    outputs = torch.randn((ROWS, CHANNELS, size, size))
    fastest = [float("inf")] * passes
    for _ in range(rounds):
        rows = make_rows()
        for index in range(passes):
            begun = time.thread_time()
            rows.run_pass(index, outputs)
            fastest[index] = min(fastest[index], time.thread_time() - begun)
    return sum(fastest) / passes * 1e6


def main() -> None:
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[8, 64, 128], help="of the latents")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", nargs="+", default=[*SCHEDULER_NAMES, "mixed"])
    asked = options.parse_args()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    groups = {name: (name,) * ROWS if name != "mixed" else MIXED for name in asked.only}
    schedulers = {name: prepare_scheduler(name) for names in groups.values() for name in names}
    tables, reading = read_tables(schedulers)

    print(f"{ROWS} rows, {STEPS} steps, one thread; load {os.getloadavg()[0]:.1f} at the beginning")
    columns = "".join(f" | objects {size}² | tables {size}² | times | noise {size}²" for size in asked.sizes)
    print(f"| scheduler | read{columns} |\n|{'---|' * (2 + 4 * len(asked.sizes))}")
    for group, names in groups.items():
        passes = min(tables[name].passes for name in names)
        cells = []
        for size in asked.sizes:
            latents = torch.randn((ROWS, CHANNELS, size, size))
            by_objects, by_tables, noise = (
                measure(lambda kind=kind, what=what: kind(what, names, latents), size, passes, asked.rounds)  # noqa: B023
                for kind, what in ((Objects, schedulers), (Tables, tables), (NoiseAlone, tables))
            )
            cells.append(f" | {by_objects:,.0f} | {by_tables:,.0f} | {by_objects / by_tables:.1f} | {noise:,.0f}")
        read = f"{reading[group]:.0f}" if group in reading else ""
        print(f"| {group} | {read}{''.join(cells)} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def read_tables(schedulers: dict[str, Any]) -> tuple[dict[str, CoefficientTable], dict[str, float]]:
    """And how many ms of processor time each took."""
    tables, reading = {}, {}
    for name, scheduler in schedulers.items():
        begun = time.thread_time()
        table = extract(scheduler, eta=SCHEDULERS[name].eta)
        reading[name] = (time.thread_time() - begun) * 1000
        assert table is not None
        tables[name] = table
    return tables, reading


if __name__ == "__main__":
    main()
