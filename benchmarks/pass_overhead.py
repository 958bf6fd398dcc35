"""The engine's own time for a pass of 16 rows of mixed schedulers, with a UNet that does nothing; plain diffusers' beside it.

    OMP_NUM_THREADS=1 python -m benchmarks.pass_overhead [--rows 16] [--size 64] [--rounds 5]

Milliseconds of this thread's processor time for one pass: joining the rows, guidance, scheduler steps. `diffusers` is what its pipeline
does around the UNet for each row by itself: joining, guidance, its scheduler. Each pass counts as the fastest of some rounds.
"""

import os
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch

from api.images.backends.engine.conditioning import Conditioning, Guide
from api.images.backends.engine.passes import JoinCache, run_pass
from api.images.backends.engine.rows import Row
from api.images.backends.engine.table_steps import TableRow
from benchmarks.scheduler_steps import CHANNELS, MIXED, STEPS, prepare_scheduler, read_tables

TOKENS, WIDTH = 77, 768


class NoUnet:
    """Answers with the noise that it was made with."""

    dtype = torch.float32

    def __init__(self, rows: int, size: int) -> None:
        self.output = torch.randn(2 * rows, CHANNELS, size, size)

    def __call__(self, sample: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        return (self.output[: len(sample)],)


def make_rows(names: Sequence[str], size: int, tables: dict[str, Any] | None) -> list[Row]:
    guide = Guide(torch.zeros(1, TOKENS, WIDTH))
    rows = []
    for number, name in enumerate(names):
        scheduler, generator = prepare_scheduler(name), torch.Generator().manual_seed(number)
        latents = torch.randn(1, CHANNELS, size, size, generator=generator)
        arguments = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
        rows.append(
            Row(
                task=None,  # type: ignore[arg-type]
                number=number,
                latents=latents,
                scheduler=scheduler,
                table_row=TableRow(tables[name], latents, generator) if tables else None,
                timesteps=scheduler.timesteps,
                device_timesteps=scheduler.timesteps.float().split(1),
                step_arguments=arguments,
                conditioning=Conditioning(guide, guide, torch.full((1, 1, 1, 1), 7.5)),
            )
        )
    return rows


def plain_pass(unet: NoUnet, rows: Sequence[Row], _: JoinCache) -> None:
    """As StableDiffusionPipeline's loop does for one picture."""
    for row in rows:
        timestep = row.timesteps[row.position]
        sample = row.scheduler.scale_model_input(torch.cat([row.latents] * 2), timestep)
        negative, positive = unet(sample)[0].chunk(2)
        output = negative + 7.5 * (positive - negative)
        row.latents = row.scheduler.step(output, timestep, row.latents, **row.step_arguments, return_dict=False)[0]
        row.position += 1


def measure(
    make: Callable[[], list[Row]], work: Callable[[NoUnet, list[Row], JoinCache], None], unet: NoUnet, rounds: int
) -> float:
    """Milliseconds a pass, the mean over STEPS passes."""
    fastest = [float("inf")] * STEPS
    for _ in range(rounds):
        rows, cache = make(), JoinCache()
        for index in range(STEPS):
            begun = time.thread_time()
            work(unet, rows, cache)
            fastest[index] = min(fastest[index], time.thread_time() - begun)
    return sum(fastest) / STEPS * 1000


@torch.no_grad()
def main() -> None:
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--size", type=int, default=64, help="of the latents")
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    names = [MIXED[number % len(MIXED)] for number in range(asked.rows)]
    tables, _ = read_tables({name: prepare_scheduler(name) for name in names})
    unet = NoUnet(asked.rows, asked.size)
    print(f"{asked.rows} rows, latents {asked.size}², load {os.getloadavg()[0]:.1f}")
    for title, work, given in (
        ("coefficient tables", run_pass, tables),
        ("scheduler objects", run_pass, None),
        ("plain diffusers, row by row", plain_pass, None),
    ):
        print(
            f"  {title:<28} {measure(lambda given=given: make_rows(names, asked.size, given), work, unet, asked.rounds):7.2f} ms"
        )


if __name__ == "__main__":
    main()
