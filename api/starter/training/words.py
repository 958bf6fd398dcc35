"""What captions say: the text encoder learns to tell a picture's facts, in space, from the words alone.

Contrast with pictures (starter-clip) leaves it unsaid which colour belongs to which shape and which stands on the left, and a
UNet learns that from its own loss very slowly. Captions cost nothing to draw, so here the encoder learns it first.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from api.starter import world
from api.starter.architecture import TOKENS, make_text_encoder, make_tokenizer
from api.starter.training import data
from api.starter.training.clip import load_clip, tokenize
from api.starter.training.judge import facts_loss
from api.starter.training.run import (
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    need_checkpoint,
    save_checkpoint,
)
from api.starter.training.together import average_over_processes, join_meeting, run_together, time_is_up
from api.starter.world.facts import CHOICES, THINGS, choices_of, things_of

BATCH, PEAK, AVERAGE_EVERY = 64, 8e-4, 4
TEXT_ENCODER = "words-final.pt"
CPU = torch.device("cpu")


class Reader(nn.Module):
    """(N, T, width) words to logits for each of CHOICES and THINGS: a question attends to the words and finds its answer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [len(answers) for answers in CHOICES.values()]
        self.questions = nn.Parameter(torch.randn(len(self.sizes) + len(THINGS), width) * width**-0.5)
        self.attention = nn.MultiheadAttention(width, 6, batch_first=True)
        self.choices = nn.ModuleList([nn.Linear(width, size) for size in self.sizes])
        self.things = nn.Linear(width, 1)

    def forward(self, words: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        questions = self.questions.expand(len(words), -1, -1)
        found = questions + self.attention(questions, words, words, need_weights=False)[0]
        choices = {name: head(found[:, i]).float() for i, (name, head) in enumerate(zip(CHOICES, self.choices, strict=True))}
        return choices, self.things(found[:, len(self.sizes) :])[..., 0].float()


def captions(seed: int) -> Iterator[tuple[world.Picture, str]]:
    """Pictures without held-out combinations, and captions that tell all of them."""
    rng = np.random.default_rng(seed)
    while True:
        picture = world.sample_for_training(rng)
        yield picture, world.describe_fully(picture, rng)


@torch.no_grad()
def misread(encoder: CLIPTextModel, reader: Reader, tokenizer: CLIPTokenizer, count: int = 512) -> dict[str, float]:
    """The share of wrong answers about captions of pictures that training never saw, held-out combinations included."""
    rng = np.random.default_rng(data.EVALUATION_SEED + 7)
    facts = [world.sample(rng) for _ in range(count)]
    tokens = tokenize(tokenizer, [world.describe_fully(picture, rng) for picture in facts], length=TOKENS)
    choices, things = reader(encoder(tokens).last_hidden_state)
    wrong: dict[str, list[bool]] = {}
    for index, picture in enumerate(facts):
        for name, answer in choices_of(picture).items():
            if answer in CHOICES[name]:
                wrong.setdefault(name, []).append(CHOICES[name][int(choices[name][index].argmax())] != answer)
        for name, present in things_of(picture).items():
            wrong.setdefault(name, []).append(bool(things[index, THINGS.index(name)] > 0) != present)
    return {name: float(np.mean(values)) for name, values in wrong.items()}


class TextEncoderTrainer(Trainer):
    """The text encoder, what asks it questions, and their optimizer."""

    def __init__(self, encoder: CLIPTextModel, device: torch.device = CPU) -> None:
        self.device, self.tokenizer = device, make_tokenizer()
        self.encoder = encoder.to(device)
        self.reader = Reader(encoder.config.hidden_size).to(device)
        groups = [{"params": self.encoder.parameters()}, {"params": self.reader.parameters()}]
        optimizer = torch.optim.AdamW(groups, PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        super().__init__({"encoder": self.encoder, "reader": self.reader}, optimizer)

    def learn(self, facts: list[world.Picture], texts: list[str], rate: float) -> float:
        """One step. Captions are padded to the longest: the encoder is causal, so what follows changes nothing before it."""
        tokens = tokenize(self.tokenizer, texts, TOKENS if self.step % 4 == 0 else None).to(self.device)
        with autocast(self.device):
            choices, things = self.reader(self.encoder(tokens).last_hidden_state)
        loss = facts_loss(choices, things, facts, self.device)
        self.follow(loss, rate)
        return loss.item()


def load_text_encoder(checkpoints: Path) -> CLIPTextModel:
    """What the last training of words left, or the taken-up weights."""
    encoder = make_text_encoder(make_tokenizer())
    encoder.load_state_dict(need_checkpoint(checkpoints / TEXT_ENCODER)["model"])
    return encoder


def _beginner(checkpoints: Path) -> CLIPTextModel:
    """The text encoder as it is, or else starter-clip's text tower."""
    if (checkpoints / TEXT_ENCODER).exists():
        return load_text_encoder(checkpoints)
    encoder = make_text_encoder(make_tokenizer())
    encoder.load_state_dict(load_clip(checkpoints).text_model.state_dict())
    return encoder


def _train_process(rank: int, processes: int, checkpoints: Path, minutes: float, meeting: str, device: torch.device) -> None:
    join_meeting(rank, processes, meeting)
    torch.manual_seed(7)
    trainer, path = TextEncoderTrainer(_beginner(checkpoints), device), checkpoints / f"words-{rank}.pt"
    trainer.resume(path)
    stream = captions(700_000 + 1000 * rank + trainer.step)
    budget, is_due = Budget(minutes, trainer.spent), every(60)

    def keep() -> None:
        trainer.keep(path, budget)
        if rank == 0:
            save_checkpoint(checkpoints / TEXT_ENCODER, {"model": trainer.encoder.state_dict()})
            wrong = misread(trainer.encoder, trainer.reader, trainer.tokenizer)
            worst = ", ".join(f"{name} {share:.2f}" for name, share in sorted(wrong.items(), key=lambda item: -item[1])[:8])
            log(f"words step {trainer.step} {budget.spent:.1f} min wrong {np.mean(list(wrong.values())):.3f}: {worst}")

    while True:
        if trainer.step % AVERAGE_EVERY == 0:
            average_over_processes(trainer.parameters)
            if time_is_up(budget):
                break
            if is_due():
                keep()
        facts, texts = zip(*(next(stream) for _ in range(BATCH)), strict=True)
        trainer.learn(list(facts), list(texts), learning_rate(PEAK, trainer.step, budget.progress))
    keep()
    dist.destroy_process_group()


def train_words(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train for `minutes` in all with one process a core or one for a GPU; go on from the checkpoints if there are any."""
    run_together(_train_process, checkpoints, minutes, device)
