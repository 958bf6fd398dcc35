"""starter-vlm, from nothing but starter-clip's eyes: answers are learnt word by word, and facts straight from the picture beside them.

Most dialogues are packed: their questions share the picture and don't see each other, so that each is learnt as the first that is
asked. What the connector hands to the language model must also tell the facts (one linear layer, thrown away afterwards): a picture
says more there than its answers do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from api.starter.architecture import WEIGHTS
from api.starter.talk.dialogues import Dialogue, dialogue
from api.starter.talk.labelled_pictures import LabelledPicture, sample_picture
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
from api.starter.training.together import average_over_processes, join_meeting, run_together, time_is_up
from api.starter.vlm import (
    END,
    FAKE,
    FOLDER,
    GLOBAL,
    IMAGE,
    IMAGE_TOKENS,
    START,
    make_vlm,
    save_vlm,
    take_over_eyes,
    train_vocabulary,
)

BATCH, PEAK, AVERAGE_EVERY, LONGEST = 16, 1.5e-3, 4, 256
FACTS = 0.5
"""The weight of what the picture must tell by itself."""
EYES_UNTIL, PICTURES = 0.25, 48
"""For the first part of the time the eyes learn alone, from three times as many pictures: they are what limits the answers."""
IGNORED = -100
CORPUS = 20_000


@dataclass(frozen=True)
class Row:
    """Token ids, what is to be learnt (IGNORED elsewhere), positions, and which question each token belongs to (0: all)."""

    ids: list[int]
    labels: list[int]
    positions: list[int]
    parts: list[int]


class Writer:
    """Dialogues as rows of tokens, as the processor's template would have them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self.pad = tokenizer.pad_token_id
        self.picture = FAKE + GLOBAL + IMAGE * IMAGE_TOKENS + FAKE

    def row(self, given: Dialogue) -> Row:
        return self._apart(given) if given.apart else self._in_turn(given)

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[no-any-return]

    def _apart(self, given: Dialogue) -> Row:
        ids = self._ids(f"{START}user\n{self.picture * len(given.samples)}")
        start = len(ids)
        row = Row(ids, [IGNORED] * start, list(range(start)), [0] * start)
        for part, exchange in enumerate(given.exchanges, 1):
            user_turn, answer_turn = (self._ids(text) for text in self._texts(*exchange))
            if len(row.ids) + len(user_turn) + len(answer_turn) > LONGEST and part > 1:
                break
            self._add(row, user_turn, answer_turn, range(start, start + len(user_turn) + len(answer_turn)), part)
        return row

    def _in_turn(self, given: Dialogue) -> Row:
        system = f"{START}system\n{given.system}{END}\n" if given.system else ""
        pictures = self.picture * len(given.samples)
        row = Row([], [], [], [])
        for number, (question, answer) in enumerate(given.exchanges):
            user_turn, answer_turn = self._texts(question, answer)
            before = f"{START}user\n"
            if not number:
                before = system + before + (pictures if given.picture_first else "")
                if not given.picture_first:
                    user_turn = user_turn.replace(END, pictures + END, 1)
            first, second = self._ids(before + user_turn), self._ids(answer_turn)
            if len(row.ids) + len(first) + len(second) > LONGEST and number:
                break
            self._add(row, first, second, range(len(row.ids), len(row.ids) + len(first) + len(second)), 0)
        return row

    def _texts(self, question: str, answer: str) -> tuple[str, str]:
        return f"{question}{END}\n{START}assistant\n", f"{answer}{END}\n"

    def _add(self, row: Row, user_turn: list[int], answer_turn: list[int], positions: range, part: int) -> None:
        row.ids.extend((*user_turn, *answer_turn))
        row.labels.extend(
            (*[IGNORED] * len(user_turn), *answer_turn[:-1], IGNORED)
        )  # the line break after an answer is never written
        row.positions.extend(positions)
        row.parts.extend([part] * len(positions))


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    """(N, 1, T, T) bool: who sees whom."""
    pictures: torch.Tensor
    """(M, 3, 128, 128), M pictures of all rows in order."""
    facts: list[Any]


def make_batch(writer: Writer, dialogues: Sequence[Dialogue], rng: np.random.Generator) -> Batch:
    rows = [writer.row(one) for one in dialogues]
    length = max(len(row.ids) for row in rows)

    def padded(values: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([each + [fill] * (length - len(each)) for each in values])

    parts = padded([row.parts for row in rows], -1)
    sees = (parts[:, :, None] == parts[:, None, :]) | (parts[:, None, :] == 0)
    samples = [sample for one in dialogues for sample in one.samples]
    return Batch(
        ids=padded([row.ids for row in rows], writer.pad),
        labels=padded([row.labels for row in rows], IGNORED),
        positions=padded([row.positions for row in rows], 0),
        mask=(sees & torch.ones(length, length, dtype=torch.bool).tril())[:, None],
        pictures=worn_a_little(to_tensor([sample.pixels for sample in samples]), rng),
        facts=[sample.facts for sample in samples],
    )


def worn_a_little(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return worn(pictures, rng) if rng.random() < 0.3 else pictures


class VlmTrainer(Trainer):
    """The model, and the head beside it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, device: torch.device) -> None:
        self.device, self.tokenizer, self.writer = device, tokenizer, Writer(tokenizer)
        self.vlm = make_vlm(tokenizer).to(device)
        self.head = FactsHead(IMAGE_TOKENS * self.vlm.config.text_config.hidden_size).to(device)
        parameters = [*self.vlm.parameters(), *self.head.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, PEAK, betas=(0.9, 0.98), fused=True)
        super().__init__({"vlm": self.vlm, "head": self.head}, optimizer, Average([self.vlm], 0.99))
        self.seen = 0

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the answers' tokens, and of the facts."""
        model, tokens = self.vlm.model, self.encode_images(batch.pictures)
        words = model.text_model.get_input_embeddings()(batch.ids.to(self.device))
        here = (batch.ids == self.vlm.config.image_token_id).to(self.device)
        words = words.masked_scatter(here[..., None].expand_as(words), tokens.reshape(-1, tokens.shape[-1]).to(words.dtype))
        hidden = model.text_model(
            inputs_embeds=words,
            attention_mask=batch.mask.to(self.device),
            position_ids=batch.positions.to(self.device),
            use_cache=False,
        ).last_hidden_state
        targets = batch.labels[:, 1:].to(self.device)
        learnt = targets != IGNORED
        logits = self.vlm.lm_head(hidden[:, :-1][learnt]).float()
        answers = functional.cross_entropy(logits, targets[learnt])
        choices, things = self.head(tokens.float().flatten(1))
        return answers, facts_loss(choices, things, batch.facts, self.device)

    def learn(self, batch: Batch, rate: float) -> float:
        """One step of everything; the loss of the answers."""
        with autocast(self.device):
            answers, facts = self.losses(batch)
        self.follow(answers + FACTS * facts, rate)
        self.seen += len(batch.ids)
        return answers.item()

    def train_vision_step(self, samples: Sequence[LabelledPicture], rate: float, rng: np.random.Generator) -> float:
        """One step of the eyes; the loss of the facts."""
        pictures = worn_a_little(to_tensor([sample.pixels for sample in samples]), rng)
        with autocast(self.device):
            tokens = self.encode_images(pictures)
            choices, things = self.head(tokens.float().flatten(1))
        facts = facts_loss(choices, things, [sample.facts for sample in samples], self.device)
        self.follow(FACTS * facts, rate)
        return facts.item()

    def encode_images(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 16, 192): what the language model gets of each."""
        model = self.vlm.model
        return model.connector(model.vision_model(pixel_values=pictures.to(self.device)).last_hidden_state)  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        return super().state() | {"seen": self.seen}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self.seen = state["seen"]


def need_vocabulary(checkpoints: Path) -> PreTrainedTokenizerFast:
    """Learnt from dialogues once, and kept with the checkpoints."""
    folder = checkpoints / "vlm-tokenizer"
    if not folder.exists():
        rng = np.random.default_rng(0)
        texts = (text for _ in range(CORPUS // 7) for exchange in dialogue(rng).exchanges for text in exchange)
        train_vocabulary(texts).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _train_process(rank: int, processes: int, checkpoints: Path, minutes: float, meeting: str, device: torch.device) -> None:
    from transformers import CLIPModel

    join_meeting(rank, processes, meeting)
    torch.manual_seed(8)
    trainer = VlmTrainer(need_vocabulary(checkpoints), device)
    path = checkpoints / f"vlm-{rank}.pt"
    if not trainer.resume(path):
        take_over_eyes(trainer.vlm, CLIPModel.from_pretrained(WEIGHTS / "starter-clip"))
        trainer.average = Average([trainer.vlm], 0.99)
    torch.manual_seed(1000 * rank + trainer.step)
    rng = np.random.default_rng([rank, trainer.step])
    budget, is_due, losses = Budget(minutes, trainer.spent), every(300), []

    def keep() -> None:
        trainer.keep(path, budget)
        if rank == 0:
            from api.starter.vlm_figures import quick_scores

            trainer.average.swap()
            log(f"vlm step {trainer.step} {budget.spent:.1f} min {quick_scores(trainer.vlm, trainer.tokenizer)}")
            trainer.average.swap()

    while True:
        if trainer.step % AVERAGE_EVERY == 0:
            average_over_processes(trainer.parameters)
            trainer.average.update()
            if time_is_up(budget):
                break
            if is_due():
                keep()
        rate = learning_rate(PEAK, trainer.step, budget.progress, warm_up=200, decay_from=0.5)
        if budget.progress < EYES_UNTIL:
            losses.append(trainer.train_vision_step([sample_picture(rng) for _ in range(PICTURES)], rate, rng))
        else:
            losses.append(trainer.learn(make_batch(trainer.writer, [dialogue(rng) for _ in range(BATCH)], rng), rate))
        if rank == 0 and trainer.step % 100 == 0:
            log(
                f"vlm step {trainer.step} {budget.spent:.1f} min loss {np.mean(losses[-100:]):.4f} rows {trainer.seen * processes}"
            )
    keep()
    torch.distributed.destroy_process_group()


def train_vlm(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train for `minutes` in all with one process a core or one for a GPU; go on from the checkpoints if there are any."""
    need_vocabulary(checkpoints)
    run_together(_train_process, checkpoints, minutes, device)
    export_vlm(checkpoints)


def export_vlm(checkpoints: Path, folder: Path = FOLDER) -> None:
    """weights/starter-vlm: the averaged weights, fp16 on disk, with processor and template."""
    trainer = VlmTrainer(need_vocabulary(checkpoints), torch.device("cpu"))
    trainer.load(need_checkpoint(checkpoints / "vlm-0.pt"))
    trainer.average.swap()
    save_vlm(trainer.vlm, trainer.tokenizer, folder)
