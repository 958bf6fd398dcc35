"""starter-nima: how good a poster or a picture looks, learnt from ones whose faults are known.

A NIMA in the resnet layout, a third of a million weights. It sees pairs: a good poster and the same one spoiled, a drawn scene and
the same one ruined. No person rated them: a rating's distribution is made up from the fault and its amount (`target_of`).
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from api.loading.nima import SCORES, WEIGHTS, Nima, ResnetNima, Stage
from api.scoring.backends.nima import emd, spread_of, squeeze, to_tensor
from api.starter import world
from api.starter.architecture import WEIGHTS as FOLDER
from api.starter.training import data
from api.starter.training.run import (
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    need_checkpoint,
)
from api.starter.world.posters import FAULTS, EventPoster, render_poster, sample_poster, spoil

SIZE = 192
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
STAGES = tuple(Stage(1, width, width, False) for width in (24, 40, 80, 112))
POSTER_PAIRS, SCENE_PAIRS, PEAK = 6, 2, 3e-3
GOOD, DEVIATION = 7.4, 1.2
LOSSES: dict[str, tuple[float, float]] = {
    "": (0.0, 0.0),
    "contrast": (2.6, 1.6),
    "overlap": (2.6, 1.4),
    "alignment": (1.6, 1.4),
    "balance": (2.0, 1.2),
    "clash": (2.6, 0.8),
    "crowding": (2.8, 1.4),
    "blurred": (0.6, 4.0),
    "noisy": (0.6, 3.6),
    "washed": (0.6, 3.4),
    "blocky": (0.6, 3.4),
}
"""What a fault costs of the mean rating: at its least, and more by its amount."""
RUINS = ("blurred", "noisy", "washed", "blocky")


@dataclass(frozen=True)
class Example:
    picture: Image.Image
    fault: str
    amount: float


def target_of(fault: str, amount: float) -> torch.Tensor:
    """Ratings 1-10 with a normal shape around what the fault leaves: (10,)."""
    least, more = LOSSES[fault]
    ratings = torch.arange(1.0, SCORES + 1)
    shares = torch.exp(-0.5 * ((ratings - (GOOD - least - more * amount)) / DEVIATION) ** 2)
    return shares / shares.sum()


# ---------------------------------------------------------------- pairs


def poster_pair(rng: np.random.Generator, fault: str) -> tuple[EventPoster, EventPoster]:
    while True:
        good = sample_poster(rng)
        if spoiled := spoil(good, fault, rng):
            return good, spoiled


def drawn(poster: EventPoster, scale: float) -> Example:
    pixels = render_poster(poster.scaled(scale))
    return Example(Image.fromarray(pixels), poster.fault, poster.amount)


def ruined(pixels: np.ndarray, fault: str, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A picture of (H, W, 3) uint8 with one of RUINS; at `amount` 0 it can just be seen."""
    if fault == "blurred":
        return cv2.GaussianBlur(pixels, (0, 0), (0.005 + 0.025 * amount) * pixels.shape[1])
    if fault == "noisy":
        return np.clip(pixels + rng.normal(0, 9 + 45 * amount, pixels.shape), 0, 255).astype(np.uint8)
    if fault == "washed":
        return np.clip(pixels * (0.65 - 0.45 * amount) + (60 + 80 * amount), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=round(16 - 13 * amount), subsampling=2)
    return np.asarray(Image.open(buffer))


def scene_pair(rng: np.random.Generator, fault: str) -> tuple[Example, Example]:
    """Any picture of the world, and the same one ruined."""
    pixels, amount = picture_of_something(rng), float(rng.random())
    bad = ruined(pixels, fault, amount, rng)
    return Example(Image.fromarray(pixels), "", 0.0), Example(Image.fromarray(bad), fault, amount)


def picture_of_something(rng: np.random.Generator) -> np.ndarray:
    """Any of the world's but a bare background, which looks the same when it is blurred."""
    while (picture := world.sample(rng)).kind == "poster":
        pass
    return world.render(picture, int(rng.integers(data.EVALUATION_SEED)))


def batches(seed: int) -> Iterator[list[Example]]:
    """Endless, each picture beside its spoiled version."""
    rng = np.random.default_rng(seed)
    order = [*FAULTS, "alignment", "overlap"]  # the two that are hardest to see come more often
    while True:
        examples: list[Example] = []
        for fault in rng.choice(order, POSTER_PAIRS):
            scale = rng.uniform(0.33, 0.5)
            examples += [drawn(poster, scale) for poster in poster_pair(rng, str(fault))]
        for fault in rng.choice(RUINS, SCENE_PAIRS):
            examples += scene_pair(rng, str(fault))
        yield examples


# ---------------------------------------------------------------- training


def make_network() -> ResnetNima:
    return ResnetNima(STAGES[0].width, STAGES, dropout=0.1)


def make_model() -> Nima:
    return Nima(make_network(), SIZE, MEAN, STD)


def loss_of(model: Nima, examples: Sequence[Example], device: torch.device) -> torch.Tensor:
    """EMD to the made-up ratings, and where a pair's means stand less apart than they should, by how much."""
    targets = torch.stack([target_of(example.fault, example.amount) for example in examples]).to(device)
    pictures = to_tensor([squeeze(example.picture, SIZE) for example in examples]).to(device, memory_format=torch.channels_last)
    with autocast(device):
        shares = model(pictures)
    (means, _), (wanted, _) = spread_of(shares), spread_of(targets)
    short = (wanted[::2] - wanted[1::2]) - (means[::2] - means[1::2])
    return emd(shares, targets).mean() + 0.05 * torch.relu(short).mean()


@dataclass(frozen=True)
class TrainedNima:
    model: Nima
    folder: Path
    """Where its weights were written."""
    steps: int
    minutes: float


def train_nima(checkpoints: Path, minutes: float, device: torch.device) -> TrainedNima:
    """Train for `minutes` in all, from the checkpoint if there is one; then export the weights."""
    torch.manual_seed(6)
    model, path = make_model().to(device), checkpoints / "nima.pt"
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    optimizer = torch.optim.AdamW(model.parameters(), PEAK, weight_decay=0.05, fused=True)
    trainer = Trainer({"model": model}, optimizer)
    trainer.resume(path)
    stream, budget, is_due = batches(500_000 + trainer.step), Budget(minutes, trainer.spent), every(60)
    losses: list[float] = []

    def keep() -> None:
        log(f"nima step {trainer.step} {budget.spent:.1f} of {minutes:.0f} min, loss {np.mean(losses[-100:] or [0]):.4f}")
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        model.train()
        loss = loss_of(model, next(stream), device)
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.3), clip=2.0)
        losses.append(float(loss.detach()))
        if is_due():
            keep()
    keep()
    return TrainedNima(model.eval(), export_nima(checkpoints), trainer.step, trainer.spent)


def export_nima(checkpoints: Path, weights: Path = FOLDER) -> Path:
    """weights/starter-nima: fp16 on disk."""
    state = need_checkpoint(checkpoints / "nima.pt")["model"]
    network = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    half = {name: value.half().contiguous() if value.is_floating_point() else value for name, value in network.items()}
    folder = weights / "starter-nima"
    folder.mkdir(exist_ok=True)
    save_file(half, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"model_type": "nima", "size": SIZE, "mean": MEAN, "std": STD}) + "\n")
    return folder
