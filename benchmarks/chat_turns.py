"""What a long prompt costs those who are being answered, and what a second turn costs with and without what the first one left.

    python -m benchmarks.chat_turns --tokens 8000 --rounds 2

The clock is this process's own processor time on one thread: what it would take on a quiet machine, whatever else runs. Random weights;
for the long prompt a language model of 14 million parameters (4 layers), for the turns SmolVLM-256M's architecture and a picture of
512 pixels.
"""

import os
import statistics
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.chat import MODEL, build

clock = time.process_time
LONG = "long-random"
WHOLE = 1_000_000


def build_language_model(folder: Path, context: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.models.tiny_chat import SPECIAL, TEXT_TEMPLATE, make_tokenizer, save

    torch.manual_seed(0)
    tokenizer = make_tokenizer(SPECIAL[:3])
    tokenizer.chat_template = TEXT_TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=576, intermediate_size=1536, num_hidden_layers=4, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=context, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    save(LlamaForCausalLM(config), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)


class Watch:
    """Notes when tokens come."""

    def __init__(self) -> None:
        self.moments, self.steps = [clock()], [clock()]
        self.text, self.cached, self.ended = "", 0, False

    def on_text(self, index: int, text: str, logprobs: Any) -> None:
        self.moments.append(clock())
        self.text += text

    def cancelled(self) -> bool:
        """Asked at each token, also at those that are only part of a character."""
        self.steps.append(clock())
        return False

    def on_end(self, reply: Any) -> None:
        self.cached, self.ended = reply.cached_tokens, True

    def on_error(self, error: Exception) -> None:
        raise error

    @property
    def first(self) -> float:
        return self.moments[1] - self.moments[0]

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.steps[1:], self.steps[2:], strict=False)]


def make_loader(folder: Path, model: str, task: str) -> Any:
    import torch

    from api.catalog import Catalog, ModelEntry
    from api.devices import Device
    from api.downloads.store import ModelStore
    from api.model_loader import ModelLoader

    entry = ModelEntry(id=model, name=model, task=task, path=folder)
    return ModelLoader(Catalog({model: entry}, {}), ModelStore(folder), Device("cpu", 0, "", torch.float32, True, 2**34))


def ask(backend: Any, turns: Any, watch: Watch, tokens: int) -> None:
    from api.chat.backends.request import ChatRequest, Sampling

    # A penalty keeps random weights from writing one invisible token for ever.
    sampling = Sampling(temperature=0.0, max_tokens=tokens, frequency_penalty=0.5)
    backend.admit(ChatRequest(model_id=backend.entry.id, turns=turns, sampling=sampling), watch)


def long_prompt(loader: Any, tokens: int, piece: int) -> tuple[float, float, float]:
    """Of a chat that is being written: its median gap alone, and its longest while the long prompt is read; then that one's first token."""
    from api.chat.backends import prefill
    from api.chat.backends.request import MessagePart, Turn
    from api.chat.backends.torch_backend import TorchBackend

    prefill.CHUNK_TOKENS["cpu"] = piece
    backend = TorchBackend(loader, LONG)
    text = "a red circle " * (tokens // 3)
    with loader.use(LONG, "text-generation") as lease:
        words = lease.pipeline.tokenizer(text)["input_ids"]
        text = lease.pipeline.tokenizer.decode(words[:tokens])
    writing, long = Watch(), Watch()
    ask(backend, (Turn("user", (MessagePart(text="hello"),)),), writing, 2000)
    for _ in range(40):
        backend.step()
    alone = statistics.median(writing.gaps)
    long.moments = [clock()]
    before = len(writing.gaps)
    ask(backend, (Turn("user", (MessagePart(text=text),)),), long, 2)
    while not long.ended:
        backend.step()
    return alone, max(writing.gaps[before:]), long.first


def second_turn(loader: Any, kept: bool) -> tuple[float, float, int]:
    """Seconds to the first token of the first turn and of the second, and the tokens that it didn't read."""
    from PIL import Image

    from api.chat.backends.prefix_cache import CacheLimits
    from api.chat.backends.request import MessagePart, Turn
    from api.chat.backends.torch_backend import TorchBackend

    loader.unload(MODEL)
    loader.load(MODEL)
    backend = TorchBackend(loader, MODEL, CacheLimits(2**29, 2**26) if kept else CacheLimits())
    image = Image.linear_gradient("L").resize((512, 512)).convert("RGB")
    turns = [
        Turn(
            "user",
            (MessagePart(image=image), MessagePart(text="What is in this image? Describe everything that you see in it.")),
        )
    ]
    seconds = []
    for question in ("And what is behind it?", ""):
        watch = Watch()
        ask(backend, tuple(turns), watch, 24)
        while backend.step():
            pass
        seconds.append(watch.first)
        turns += [Turn("assistant", (MessagePart(text=watch.text),)), Turn("user", (MessagePart(text=question),))]
    return seconds[0], seconds[1], watch.cached


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pieces", type=int, nargs="*", default=[WHOLE, 512, 256, 128])
    arguments = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        build_language_model(Path(folder, "text"), arguments.tokens + 3000)
        loader = make_loader(Path(folder, "text"), LONG, "text-generation")
        for piece in arguments.pieces:
            alone, longest, first = long_prompt(loader, arguments.tokens, piece)
            told = "whole" if piece == WHOLE else f"{piece} at a time"
            print(
                f"{arguments.tokens} tokens, {told}: a gap of {longest:.2f} s ({alone:.3f} s alone), first token {first:.1f} s",
                flush=True,
            )
        build(Path(folder, "sees"))
        loader = make_loader(Path(folder, "sees"), MODEL, "image-text-to-text")
        for kept in (False, True):
            runs = [second_turn(loader, kept) for _ in range(arguments.rounds)]
            told = f"with {runs[0][2]} tokens kept" if kept else "nothing kept"
            print(
                f"{told}: first turn {min(run[0] for run in runs):.2f} s, second {min(run[1] for run in runs):.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
