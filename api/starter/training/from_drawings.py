"""Training a network on drawings of the world, whose answers are known as they are drawn: the loop of two starter models."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from api.starter.training.judge import worn
from api.starter.training.run import Average, Budget, Trainer, autocast, every, learning_rate, log, to_tensor

BATCH, PEAK, DECAY = 16, 2e-3, 0.998
LOG_SECONDS = 30


class Drawn(Protocol):
    @property
    def pixels(self) -> np.ndarray: ...


D = TypeVar("D", bound=Drawn)
Taken = TypeVar("Taken", bound=Drawn, covariant=True)


class Pool(Protocol[Taken]):
    def take(self) -> Taken: ...


def as_batch(drawings: Sequence[Drawn]) -> torch.Tensor:
    """(N, 3, 256, 256) in 0..1."""
    return (to_tensor([drawing.pixels for drawing in drawings]) + 1) / 2


def trainer_of(network: torch.nn.Module) -> Trainer:
    """AdamW, with weight decay for matrices and kernels alone, and averaged weights."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    return Trainer({"model": network}, torch.optim.AdamW(groups, PEAK, fused=True), Average([network], DECAY, statistics=True))


@dataclass
class DrawingTraining(Generic[D]):
    """One run, or its continuation from the checkpoint `name`.pt. `report`: measures the averaged network, and says it in a line."""

    name: str
    network: torch.nn.Module
    checkpoints: Path
    minutes: float
    device: torch.device
    pool_at: Callable[[int], Pool[D]]
    """Drawings from a seed on."""
    first_seed: int
    loss_of: Callable[[torch.Tensor, Sequence[D]], torch.Tensor]
    report: Callable[[], str]
    report_seconds: float
    decay_from: float
    """The part of the time after which the learning rate falls."""
    clip: float

    def run(self) -> Trainer:
        """Afterwards the network holds its averaged weights."""
        path, trainer = self.checkpoints / f"{self.name}.pt", trainer_of(self.network)
        trainer.resume(path)
        seed = self.first_seed + trainer.step
        pool, rng = self.pool_at(seed), np.random.default_rng(seed)
        budget, report_is_due, log_is_due = Budget(self.minutes, trainer.spent), every(self.report_seconds), every(LOG_SECONDS)
        for step in trainer.steps(budget):
            drawings = [pool.take() for _ in range(BATCH)]
            loss = self.loss_of(self.outputs(drawings, rng).float(), drawings)
            trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=self.decay_from), clip=self.clip)
            trainer.average.update()
            if log_is_due():
                log(f"{self.name} step {trainer.step} {budget.spent:.1f} of {self.minutes:.0f} min loss {loss.item():.3f}")
            if report_is_due():
                self.keep(trainer, budget, path)
        self.keep(trainer, budget, path)
        trainer.average.swap()
        self.network.eval()
        return trainer

    def outputs(self, drawings: Sequence[D], rng: np.random.Generator) -> Any:
        """Half of the pictures are worn."""
        pictures = as_batch(drawings)
        pictures[: BATCH // 2] = (worn(pictures[: BATCH // 2] * 2 - 1, rng) + 1) / 2
        with autocast(self.device):
            return self.network(pictures.contiguous(memory_format=torch.channels_last))

    def keep(self, trainer: Trainer, budget: Budget, path: Path) -> None:
        with averaged(trainer, self.network):
            said = self.report()
        log(f"{self.name} step {trainer.step} {budget.spent:.1f} min {said}")
        trainer.keep(path, budget)


@contextmanager
def averaged(trainer: Trainer, network: torch.nn.Module) -> Iterator[None]:
    """The network with its averaged weights, for measuring."""
    trainer.average.swap()
    network.eval()
    yield
    network.train()
    trainer.average.swap()
