"""The judge: a small classifier that says what it sees in a picture. It learns from drawn pictures and their true facts,
never from the models that it judges, and on blurred and tinted ones, too, so that it bears an autoencoder's marks."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.training import data
from api.starter.training.run import (
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    need_checkpoint,
    to_tensor,
)
from api.starter.world.facts import CHOICES, THINGS, choices_of, things_of

BATCH, PEAK = 64, 2e-3
UNKNOWN = -1


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.layers(x))


def _smaller(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 2, stride=2), nn.BatchNorm2d(after), nn.ReLU())


class Judge(nn.Module):
    """(N, 3, 128, 128) in -1..1 to one logit row for each of CHOICES and one logit for each of THINGS."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=2, padding=1),  # birds are strokes of two pixels: a stride of 4 missed half of them
            nn.BatchNorm2d(24),
            nn.ReLU(),
            Block(24),
            _smaller(24, 40),
            Block(40),
            _smaller(40, 80),
            Block(80),
            Block(80),
            _smaller(80, 160),
            Block(160),
            Block(160),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(160 * 16, 256),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.sizes = [len(answers) for answers in CHOICES.values()]
        self.head = nn.Linear(256, sum(self.sizes) + len(THINGS))

    def forward(self, pictures: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        *choices, things = self.head(self.body(pictures)).float().split([*self.sizes, len(THINGS)], dim=1)
        return dict(zip(CHOICES, choices, strict=True)), things


def labels_of(pictures: list[world.Picture]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The true answers: class indices and 0 or 1, UNKNOWN where the question makes no sense."""
    known = [choices_of(picture) for picture in pictures]
    choices = {
        name: torch.tensor([answers.index(k[name]) if k.get(name) in answers else UNKNOWN for k in known])
        for name, answers in CHOICES.items()
    }
    present = [things_of(picture) for picture in pictures]
    return choices, torch.tensor([[float(p.get(thing, UNKNOWN)) for thing in THINGS] for p in present])


def facts_loss(
    choice_logits: dict[str, torch.Tensor], thing_logits: torch.Tensor, facts: list[world.Picture], device: torch.device
) -> torch.Tensor:
    """Cross-entropy of what these pictures have an answer to."""
    choices, things = labels_of(facts)
    choices, things = {name: c.to(device) for name, c in choices.items()}, things.to(device)
    asked = [name for name in CHOICES if (choices[name] != UNKNOWN).any()]
    total = sum(functional.cross_entropy(choice_logits[name], choices[name], ignore_index=UNKNOWN) for name in asked)
    known = things != UNKNOWN
    return total + 4 * functional.binary_cross_entropy_with_logits(thing_logits[known], things[known])


class FactsHead(nn.Module):
    """(N, inputs) to the judge's questions, by one linear layer: what another model's sight must tell while it learns."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.sizes = [*(len(answers) for answers in CHOICES.values()), len(THINGS)]
        self.linear = nn.Linear(inputs, sum(self.sizes))

    def forward(self, seen: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        *choices, things = self.linear(seen).float().split(self.sizes, dim=1)
        return dict(zip(CHOICES, choices, strict=True)), things


def loss_of(judge: Judge, pictures: torch.Tensor, facts: list[world.Picture]) -> torch.Tensor:
    with autocast(pictures.device):
        choices, things = judge(pictures)
    return facts_loss(choices, things, facts, pictures.device)


def worn(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Blur, shift the colours a little and add noise, each now and then."""
    if rng.random() < 0.5:
        small = functional.interpolate(pictures, scale_factor=float(rng.uniform(0.6, 0.95)), mode="bilinear", antialias=True)
        pictures = functional.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
    if rng.random() < 0.6:
        pictures = pictures * rng.uniform(0.9, 1.05) + torch.randn(len(pictures), 3, 1, 1, device=pictures.device) * 0.06
    if rng.random() < 0.4:
        pictures = pictures + torch.randn_like(pictures) * rng.uniform(0, 0.1)
    return pictures.clamp(-1, 1)


@torch.no_grad()
def see(judge: Judge, pictures: torch.Tensor) -> list[tuple[dict[str, str], dict[str, bool]]]:
    """For each picture the likeliest answer to each of CHOICES, and whether each of THINGS is there."""
    choice_logits, thing_logits = judge(pictures.to(next(judge.parameters()).device))
    best = {name: logits.argmax(dim=1).tolist() for name, logits in choice_logits.items()}
    there = (thing_logits > 0).tolist()
    return [
        ({name: CHOICES[name][best[name][i]] for name in CHOICES}, dict(zip(THINGS, there[i], strict=True)))
        for i in range(len(pictures))
    ]


@torch.no_grad()
def accuracy(judge: Judge, count: int, seed: int) -> dict[str, float]:
    """The share of right answers to each question about freshly drawn pictures."""
    rng = np.random.default_rng(seed)
    facts = [world.sample(rng) for _ in range(count)]
    seen = see(judge, to_tensor([world.render(picture, int(rng.integers(10**9))) for picture in facts]))
    right: dict[str, list[bool]] = {}
    for picture, (choices, things) in zip(facts, seen, strict=True):
        for name, answer in choices_of(picture).items():
            right.setdefault(name, []).append(choices[name] == answer)
        for thing, present in things_of(picture).items():
            right.setdefault(thing, []).append(things[thing] == present)
    return {name: float(np.mean(values)) for name, values in right.items()}


@torch.no_grad()
def balance(judge: Judge, count: int, seed: int) -> None:
    """Move each thing's threshold to where it is missed as often as it is seen in vain, on `count` drawings.

    A picture that was asked for has the thing far oftener than a drawing of training, so what training made likely says nothing.
    """
    rng = np.random.default_rng(seed)
    facts = [world.sample_for_training(rng) for _ in range(count)]
    present = labels_of(facts)[1]
    pixels = [world.render(picture, int(rng.integers(10**9))) for picture in facts]
    logits = torch.cat([judge(to_tensor(pixels[start : start + 64]))[1] for start in range(0, count, 64)])
    for place in range(len(THINGS)):
        there, absent = logits[present[:, place] == 1, place].sort()[0], logits[present[:, place] == 0, place].sort()[0]
        shares = torch.linspace(0, 1, 201)
        missed, in_vain = there.quantile(shares), absent.quantile(1 - shares)
        judge.head.bias[sum(judge.sizes) + place] -= missed[(missed >= in_vain).int().argmax()]


def load_judge(weights: Path = WEIGHTS) -> Judge:
    judge = Judge()
    judge.load_state_dict(load_file(weights / "judge" / "model.safetensors"))
    return judge.eval()


def export_judge(checkpoints: Path, weights: Path = WEIGHTS) -> None:
    """weights/judge: fp16 on disk, balanced. Evaluation and tests look through it; the server does not."""
    judge = Judge()
    judge.load_state_dict(need_checkpoint(checkpoints / "judge.pt")["model"])
    balance(judge.eval(), 4000, 310_000)
    state = judge.state_dict()
    (weights / "judge").mkdir(exist_ok=True)
    half = {name: value.half().contiguous() if value.is_floating_point() else value for name, value in state.items()}
    save_file(half, weights / "judge" / "model.safetensors")


def course_of(judge: Judge) -> Trainer:
    return Trainer({"model": judge}, torch.optim.AdamW(judge.parameters(), PEAK, weight_decay=0.05, fused=True))


def train_judge(checkpoints: Path, minutes: float, device: torch.device) -> Judge:
    """Train for `minutes` in all, from the checkpoint if there is one."""
    torch.manual_seed(4)
    judge, path = Judge().to(device), checkpoints / "judge.pt"
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    trainer = course_of(judge)
    trainer.resume(path)
    stream, rng = data.pictures(300_000 + trainer.step), np.random.default_rng(300_000 + trainer.step)
    budget, is_due = Budget(minutes, trainer.spent), every(90)

    def keep() -> None:
        judge.eval()
        shares = accuracy(judge, 400, data.EVALUATION_SEED)
        worst = ", ".join(f"{name} {share:.2f}" for name, share in sorted(shares.items(), key=lambda item: item[1])[:5])
        log(f"judge step {trainer.step} {budget.spent:.1f} min mean {np.mean(list(shares.values())):.3f} worst: {worst}")
        judge.train()
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        facts, pixels = zip(*(next(stream) for _ in range(BATCH)), strict=True)
        pictures = worn(to_tensor(pixels).to(device, memory_format=torch.channels_last), rng)
        loss = loss_of(judge, pictures, list(facts))
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.3), clip=5.0)
        if is_due():
            keep()
    keep()
    return judge.eval()
