"""What all trainings share: a time budget, a learning-rate curve, averaged weights, checkpoints and sample grids."""

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def chosen_device(name: str | None) -> torch.device:
    """The device of that name, else a GPU if there is one. A CPU is used with one thread a process."""
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.set_num_threads(1)
    return device


def quick_dtype(device: torch.device) -> torch.dtype:
    """bf16 where it pays: on a GPU, and on a CPU that multiplies it faster than fp32 (some take a hundred times as long)."""
    return torch.bfloat16 if device.type != "cpu" or _bf16_pays() else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=quick_dtype(device) == torch.bfloat16)


@functools.cache
def _bf16_pays() -> bool:
    from api.devices import probe_device

    return probe_device("cpu").is_fast(torch.bfloat16)


class Budget:
    """Counts the minutes that a training has had, over restarts; `spent` is kept in the checkpoint."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self.minutes, self._before, self._start = minutes, spent, time.monotonic()

    @property
    def spent(self) -> float:
        return self._before + (time.monotonic() - self._start) / 60

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the time is up."""
        return min(1.0, self.spent / self.minutes)


def learning_rate(peak: float, step: int, progress: float, warm_up: int = 100, decay_from: float = 0.6) -> float:
    """Linear warm-up over steps, then flat, then a half cosine down to 2 % of the peak at the end of the budget."""
    tail = max(0.0, (progress - decay_from) / (1 - decay_from))
    return float(peak * min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * tail))))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("lr_scale", 1.0)


class Average:
    """An exponential moving average of a module's weights, quicker at first: min(decay, (1 + step) / (10 + step)).

    `statistics`: those of batch normalisation are averaged, too.
    """

    def __init__(self, modules: Sequence[torch.nn.Module], decay: float, *, statistics: bool = False) -> None:
        self._parameters: list[torch.Tensor] = [p for module in modules for p in module.parameters()]
        if statistics:
            self._parameters += [b for module in modules for b in module.buffers() if b.is_floating_point()]
        self._decay, self.step = decay, 0
        self.values = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self._parameters], 1 - decay)
        self.step += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average with the weights in training; call it again to go back."""
        for value, parameter in zip(self.values, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "values": self.values}

    def load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for mine, saved in zip(self.values, state["values"], strict=True):
            mine.copy_(saved)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside and rename, so that a kill never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def need_checkpoint(path: Path) -> dict[str, Any]:
    state = load_checkpoint(path)
    if state is None:
        raise FileNotFoundError(f"{path} is not there: train {path.stem.split('-')[0]} first")
    return state


def to_tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(H, W, 3) uint8 pictures to a (N, 3, H, W) float tensor in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(batch: torch.Tensor) -> np.ndarray:
    """The way back: (N, H, W, 3) uint8."""
    return ((batch.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def save_grid(pictures: Sequence[np.ndarray] | np.ndarray, path: Path, columns: int, **options: Any) -> None:
    """Lay pictures of one size out in rows and save them as one; `options` are Pillow's for the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [np.concatenate(list(pictures[i : i + columns]), axis=1) for i in range(0, len(pictures), columns)]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, **options)


def every(seconds: float) -> Callable[[], bool]:
    """True on the first call `seconds` after the last time it was True."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        if time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return due


class Trainer:
    """What one process trains: modules by name, their optimizer, an average of weights (of none, unless given), and how far it is."""

    def __init__(
        self, modules: Mapping[str, torch.nn.Module], optimizer: torch.optim.Optimizer, average: Average | None = None
    ) -> None:
        self.modules, self.optimizer, self.average = modules, optimizer, average or Average((), 0.0)
        self.step, self.spent = 0, 0.0

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for module in self.modules.values() for parameter in module.parameters()]

    def follow(self, loss: torch.Tensor, rate: float, clip: float = 1.0) -> None:
        """One step down this loss, at this learning rate, its gradient cut to a norm of `clip`."""
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        self.optimizer.step()
        self.step += 1

    def state(self) -> dict[str, Any]:
        modules: dict[str, Any] = {name: module.state_dict() for name, module in self.modules.items()}
        return modules | {
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "step": self.step,
            "spent": self.spent,
        }

    def load(self, state: dict[str, Any]) -> None:
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
        if self.average.values:
            self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent = state["step"], state["spent"]

    def resume(self, path: Path) -> dict[str, Any] | None:
        """Go on from this checkpoint if it is there; what it holds."""
        if state := load_checkpoint(path):
            self.load(state)
        return state

    def keep(self, path: Path, budget: Budget, **more: Any) -> None:
        self.spent = budget.spent
        save_checkpoint(path, self.state() | more)

    def steps(self, budget: Budget) -> Iterator[int]:
        """The number of the step to take, until the time is up."""
        while budget.progress < 1:
            yield self.step
