"""Training in one process a core: each takes its own steps, and every few their weights are averaged (local SGD, Stich,
arXiv:1805.09767), which costs little and bears that one of them waits for a core."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from api.starter.training.run import Budget


def join_meeting(rank: int, processes: int, meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)


@torch.no_grad()
def average_over_processes(parameters: list[torch.nn.Parameter]) -> None:
    if dist.get_world_size() == 1:
        return
    flat = torch.cat([p.detach().flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([p.numel() for p in parameters])
    torch._foreach_copy_([p.data for p in parameters], [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)])


def time_is_up(budget: Budget) -> bool:
    """What the first process's clock says, so that all stop at the same step."""
    flag = torch.tensor([float(budget.progress >= 1)])
    dist.broadcast(flag, src=0)
    return bool(flag.item())


def run_together(process: Callable[..., None], checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Runs process(rank, processes, checkpoints, minutes, meeting, device), one a core or one for a GPU."""
    meeting = checkpoints / f"meeting-{os.getpid()}"
    processes = os.cpu_count() or 1 if device.type == "cpu" else 1
    arguments: tuple[Any, ...] = (processes, checkpoints, minutes, f"file://{meeting.resolve()}", device)
    torch.multiprocessing.spawn(process, arguments, processes)
    meeting.unlink(missing_ok=True)
