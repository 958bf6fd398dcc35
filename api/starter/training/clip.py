"""starter-clip: captions and pictures into one space, by contrast within a batch (Radford et al., arXiv:2103.00020)."""

from pathlib import Path

import numpy as np
import torch
from transformers import CLIPModel, CLIPTokenizer

from api.starter import world
from api.starter.architecture import make_clip, make_tokenizer
from api.starter.training import data
from api.starter.training.run import (
    Average,
    Budget,
    autocast,
    every,
    learning_rate,
    load_checkpoint,
    log,
    need_checkpoint,
    save_checkpoint,
    set_learning_rate,
    steps_until_done,
    to_tensor,
)

BATCH, PEAK = 96, 1e-3


def tokenize(tokenizer: CLIPTokenizer, captions: list[str], length: int | None = None) -> torch.Tensor:
    """(N, T) token ids, padded to the longest caption or to `length`, cut at 77."""
    padding = "max_length" if length else "longest"
    return tokenizer(captions, padding=padding, truncation=True, max_length=length or 77, return_tensors="pt")["input_ids"]


def contrast(clip: CLIPModel, tokens: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """The symmetric cross-entropy of the batch; pictures with the very same caption count as equally right."""
    with autocast(pictures.device):
        output = clip(input_ids=tokens, pixel_values=pictures)
    logits = output.logits_per_text.float()
    same = (tokens[:, None] == tokens[None]).all(dim=-1).float()
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


def train_clip(checkpoints: Path, minutes: float, device: torch.device) -> CLIPModel:
    """Train for `minutes` in all, from the checkpoint if there is one; the average of the weights is what comes back."""
    torch.manual_seed(2)
    tokenizer = make_tokenizer()
    clip = make_clip(tokenizer).to(device)
    optimizer = torch.optim.AdamW(clip.parameters(), PEAK, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    average, path, step, spent = Average([clip], 0.995), checkpoints / "clip.pt", 0, 0.0
    if state := load_checkpoint(path):
        clip.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load(state["average"])
        step, spent = state["step"], state["spent"]
    stream, rng = data.pictures(100_000 + step), np.random.default_rng(100_000 + step)
    budget, look, done = Budget(minutes, spent), every(150), step

    def keep() -> None:
        average.swap()
        log(f"clip step {done} {budget.spent:.1f} min first of 100: {first_among_hundred(clip, tokenizer, 7, 3):.2f}")
        average.swap()
        save_checkpoint(
            path,
            {
                "model": clip.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.state(),
                "step": done,
                "spent": budget.spent,
            },
        )

    for done in steps_until_done(budget, step):
        facts, pixels = zip(*(next(stream) for _ in range(BATCH)), strict=True)
        tokens = tokenize(tokenizer, [_caption(picture, rng) for picture in facts])
        loss = contrast(clip, tokens.to(device), to_tensor(pixels).to(device))
        set_learning_rate(optimizer, learning_rate(PEAK, done, budget.progress, decay_from=0.4))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(0, np.log(100))
        average.update()
        if done % 25 == 0:
            log(f"clip step {done} {budget.spent:.1f} min loss {loss.item():.3f} scale {clip.logit_scale.exp().item():.1f}")
        if look():
            keep()
    keep()
    average.swap()
    return clip


def _caption(picture: world.Picture, rng: np.random.Generator) -> str:
    return world.describe_fully(picture, rng) if rng.random() < 0.5 else world.training_caption(picture, rng, 0.0)
