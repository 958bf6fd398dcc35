"""starter-clip: captions and pictures into one space, by contrast within a batch (Radford et al., arXiv:2103.00020).

Each picture of a batch has a sibling there that differs in one fact. Among strangers a glance tells which caption is whose, and
what was learnt from them alone could not rank pictures of one prompt (best of five gained nothing by it).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from api.starter import world
from api.starter.architecture import make_clip, make_tokenizer
from api.starter.training import data
from api.starter.training.judge import FactsHead, facts_loss, worn
from api.starter.training.run import (
    Average,
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    need_checkpoint,
    to_tensor,
)

BATCH, PEAK = 96, 1e-3
CPU = torch.device("cpu")
FACTS = 0.1
"""The weight of what the patches must tell of a picture's facts, by one linear layer that is thrown away afterwards."""
WORN, TOLD_FULLY = 0.5, 0.7
"""The shares of batches that are blurred or tinted, as generated pictures are, and of captions that name every thing."""


def tokenize(tokenizer: CLIPTokenizer, captions: list[str], length: int | None = None) -> torch.Tensor:
    """(N, T) token ids, padded to the longest caption or to `length`, cut at 77."""
    padding = "max_length" if length else "longest"
    return tokenizer(captions, padding=padding, truncation=True, max_length=length or 77, return_tensors="pt")["input_ids"]


def contrast(logits: torch.Tensor, tokens: torch.Tensor, also_true: torch.Tensor) -> torch.Tensor:
    """The symmetric cross-entropy of (N, N) logits of captions and pictures; where captions are the very same, so are their pictures.

    `also_true`: (N, N) bool, [i, j] where caption i is true of picture j, too, though it is another's: neither right nor wrong."""
    same = (tokens[:, None] == tokens[None]).all(dim=-1)
    logits = logits.float().masked_fill(also_true & ~same, -1e4)
    target = same / same.sum(dim=-1, keepdim=True)
    return 0.5 * (_cross_entropy(logits, target) + _cross_entropy(logits.T, target))


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -(target * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


@torch.no_grad()
def first_among_hundred(clip: CLIPModel, tokenizer: CLIPTokenizer, seed: int, rounds: int) -> float:
    """The share of pictures whose own caption is the likeliest among those of 100 different pictures."""
    rng, right = np.random.default_rng(seed), 0
    for _ in range(rounds):
        pictures: dict[world.Picture, str] = {}
        while len(pictures) < 100:
            picture = world.sample(rng)
            pictures.setdefault(picture, world.describe_fully(picture, rng))
        pixels = to_tensor([world.render(picture, int(rng.integers(10**9))) for picture in pictures])
        tokens = tokenize(tokenizer, list(pictures.values()))
        output = clip(input_ids=tokens.to(clip.device), pixel_values=pixels.to(clip.device))
        right += (output.logits_per_image.argmax(dim=-1).cpu() == torch.arange(100)).sum().item()
    return right / (100 * rounds)


def load_clip(checkpoints: Path) -> CLIPModel:
    """The average of the weights in the checkpoint."""
    clip, state = make_clip(make_tokenizer()), need_checkpoint(checkpoints / "clip.pt")
    for parameter, value in zip(clip.parameters(), state["average"]["values"], strict=True):
        parameter.data.copy_(value)
    return clip.eval()


@torch.no_grad()
def told_apart(clip: CLIPModel, tokenizer: CLIPTokenizer, seed: int, count: int) -> float:
    """How often, of two pictures that differ in one fact, the one that a caption is true of fits it better; chance is a half."""
    rng = np.random.default_rng(seed)
    pairs: list[tuple[world.Picture, world.Picture]] = []
    while len(pairs) < count:
        before = world.sample(rng)
        after = world.change_for_training(before, rng)
        if not world.still_told(before, after):
            pairs.append((before, after))
    pixels = to_tensor([world.render(picture, int(rng.integers(10**9))) for pair in pairs for picture in pair])
    tokens = tokenize(tokenizer, [world.describe_fully(before, rng) for before, _ in pairs])
    seen = clip.get_image_features(pixel_values=pixels.to(clip.device)).pooler_output.unflatten(0, (count, 2))
    said = clip.get_text_features(input_ids=tokens.to(clip.device)).pooler_output[:, None]
    return torch.gt(*functional.cosine_similarity(seen, said, dim=-1).unbind(1)).float().mean().item()


def siblings(seed: int) -> Iterator[list[world.Picture]]:
    """Training pictures two by two, the second with one fact changed: what differs little is what captions must tell apart."""
    rng = np.random.default_rng(seed)
    while True:
        picture = world.sample_for_training(rng)
        yield [picture, world.change_for_training(picture, rng)]


def also_true(pictures: Sequence[world.Picture]) -> torch.Tensor:
    """(N, N) bool: [i, j] where all that is said of i is true of its sibling j, too."""
    table = torch.zeros(len(pictures), len(pictures), dtype=torch.bool)
    for index, picture in enumerate(pictures):
        table[index, index ^ 1] = world.still_told(picture, pictures[index ^ 1])
    return table


class ClipTrainer(Trainer):
    """The CLIP, and the head beside it."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.device, self.tokenizer = device, make_tokenizer()
        self.clip = make_clip(self.tokenizer).to(device)
        width = self.clip.config.vision_config.hidden_size
        self.head = FactsHead(self.clip.vision_model.embeddings.num_patches * width).to(device)
        parameters = [*self.clip.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, PEAK, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
        super().__init__({"model": self.clip, "head": self.head}, optimizer, Average([self.clip], 0.995))

    def learn(self, facts: list[world.Picture], captions: list[str], pictures: torch.Tensor, rate: float) -> float:
        """One step on siblings two by two, their captions and (N, 3, 128, 128) pictures in -1..1; the loss of the contrast."""
        tokens = tokenize(self.tokenizer, captions).to(self.device)
        with autocast(self.device):
            output = self.clip(input_ids=tokens, pixel_values=pictures.to(self.device))
            choices, things = self.head(output.vision_model_output.last_hidden_state[:, 1:].flatten(1))
        loss = contrast(output.logits_per_text, tokens, also_true(facts).to(self.device))
        self.follow(loss + FACTS * facts_loss(choices, things, facts, self.device), rate)
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, np.log(100))
        self.average.update()
        return loss.item()


def train_clip(checkpoints: Path, minutes: float, device: torch.device) -> CLIPModel:
    """Train for `minutes` in all, from the checkpoint if there is one; the average of the weights is what comes back."""
    torch.manual_seed(2)
    trainer, path = ClipTrainer(device), checkpoints / "clip.pt"
    trainer.resume(path)
    stream, rng = siblings(100_000 + trainer.step), np.random.default_rng(100_000 + trainer.step)
    budget, is_due = Budget(minutes, trainer.spent), every(150)

    def keep() -> None:
        trainer.average.swap()
        first, apart = (
            first_among_hundred(trainer.clip, trainer.tokenizer, 7, 3),
            told_apart(trainer.clip, trainer.tokenizer, 8, 400),
        )
        log(f"clip step {trainer.step} {budget.spent:.1f} min first of 100: {first:.2f}, siblings told apart: {apart:.3f}")
        trainer.average.swap()
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        facts = [picture for _ in range(BATCH // 2) for picture in next(stream)]
        pixels = to_tensor([world.render(picture, int(rng.integers(data.EVALUATION_SEED))) for picture in facts])
        pictures = worn(pixels, rng) if rng.random() < WORN else pixels
        captions = [_caption(picture, rng) for picture in facts]
        loss = trainer.learn(facts, captions, pictures, learning_rate(PEAK, step, budget.progress, decay_from=0.4))
        if step % 25 == 0:
            log(f"clip step {step} {budget.spent:.1f} min loss {loss:.3f} scale {trainer.clip.logit_scale.exp().item():.1f}")
        if is_due():
            keep()
    keep()
    trainer.average.swap()
    return trainer.clip


def _caption(picture: world.Picture, rng: np.random.Generator) -> str:
    return world.describe_fully(picture, rng) if rng.random() < TOLD_FULLY else world.training_caption(picture, rng, 0.0)
