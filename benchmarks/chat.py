"""Chats at SmolVLM-256M's size, with random weights: first token and tokens a second, alone and four at once.

Everything is measured beside transformers' own `generate` in fp32, in the same run and in turns; the best of some rounds counts, since
what else runs on a machine only ever slows down.

    python -m benchmarks.chat --rounds 3 --tokens 48

`--clock cpu` counts this process's own processor time instead (with --threads 1 it is what a quiet machine would take).
"""

import gc
import os
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

LAYERS, VOCABULARY, TILE, PATCH, SCALE = 30, 49_280, 512, 16, 4
MODEL = "smolvlm-256m-random"
clock: Callable[[], float] = time.perf_counter
QUESTION = "What is in this image? Describe everything that you see in it."


def build(folder: Path) -> None:
    """SmolVLM-256M-Instruct's architecture, layer by layer."""
    import torch
    from tokenizers import AddedToken
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil, Idefics3Processor

    from tests.models.tiny_chat import SPECIAL, TEMPLATE, make_tokenizer, save

    torch.manual_seed(0)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_tokenizer([*SPECIAL, *tiles])
    words = [AddedToken(f"w{number}", normalized=False) for number in range(VOCABULARY - len(tokenizer))]
    tokenizer.add_tokens(words)
    text = {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": LAYERS, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": VOCABULARY, "max_position_embeddings": 8192, "rope_theta": 100_000.0,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": TILE,
        "patch_size": PATCH,
    }  # fmt: skip
    config = Idefics3Config(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=SCALE,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(Idefics3ForConditionalGeneration(config), folder, tokenizer, end=f"w{VOCABULARY // 2}")
    images = Idefics3ImageProcessorPil(size={"longest_edge": 4 * TILE}, max_image_size={"longest_edge": TILE})
    length = (TILE // PATCH) ** 2 // SCALE**2
    Idefics3Processor(images, tokenizer, image_seq_len=length, chat_template=TEMPLATE).save_pretrained(folder)


class Deaf:
    """Listens to nothing but the moment of the end."""

    def on_text(self, index: int, text: str, logprobs: Any) -> None:
        return

    def cancelled(self) -> bool:
        return False

    def on_end(self, reply: Any) -> None:
        return

    def on_error(self, error: Exception) -> None:
        raise error


class Ours:
    def __init__(self, folder: Path, dtype: Any) -> None:
        import torch

        from api.catalog import Catalog, ModelEntry
        from api.chat.backends.torch_backend import TorchBackend
        from api.devices import Device
        from api.downloads.store import ModelStore
        from api.model_loader import ModelLoader

        entry = ModelEntry(id=MODEL, name=MODEL, task="image-text-to-text", path=folder)
        device = Device("cpu", 0, "", dtype, True, psutil.virtual_memory().total)
        self.loader = ModelLoader(Catalog({MODEL: entry}, {}), ModelStore(folder), device)
        self.loader.load(MODEL)
        self.backend, self.torch = TorchBackend(self.loader, MODEL), torch

    def run(self, image: Any, tokens: int, chats: int) -> tuple[float, float]:
        """Seconds to the first token of the first chat, and tokens a second once all are being written."""
        from api.chat.backends.request import ChatRequest, Part, Sampling, Turn

        request = ChatRequest(
            model_id=MODEL,
            turns=(Turn("user", (Part(image=image), Part(text=QUESTION))),),
            sampling=Sampling(temperature=0.0, max_tokens=tokens + chats),
        )
        started = clock()
        self.backend.admit(request, Deaf())
        while self.backend.engine.reading:
            self.backend.step()
        first = clock() - started
        for _ in range(chats - 1):
            self.backend.admit(request, Deaf())
        written, begun = 0, clock()
        while written < tokens and self.backend.rows == chats:
            self.backend.step()
            written += 1
        speed = written * chats / (clock() - begun)
        while self.backend.step():
            pass
        return first, speed


class Plain:
    """transformers as its documentation uses it: fp32, the processor's own splitting or (`one_tile`) without."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.torch = torch
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def run(self, image: Any, tokens: int, chats: int, *, one_tile: bool = True) -> tuple[float, float]:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        options = {"do_image_splitting": False} if one_tile else {}

        stamps: list[float] = []

        def stamp(input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            stamps.append(clock())
            return self.torch.zeros(len(input_ids), dtype=self.torch.bool)

        started = clock()
        inputs = self.processor(text=[text] * chats, images=[[image]] * chats, return_tensors="pt", **options)
        with self.torch.inference_mode():
            self.model.generate(
                **inputs, max_new_tokens=tokens + 1, min_new_tokens=tokens + 1, do_sample=False, stopping_criteria=[stamp]
            )
        return stamps[0] - started, tokens * chats / (stamps[-1] - stamps[0])


def best(measure: Callable[[], tuple[float, float]], rounds: int) -> tuple[float, float, float]:
    """The shortest first token, the highest speed, and the median speed."""
    found = [measure() for _ in range(rounds)]
    return min(first for first, _ in found), max(speed for _, speed in found), statistics.median(speed for _, speed in found)


def resident() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def main() -> None:
    options = ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tokens", type=int, default=48)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    options.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    given = options.parse_args()
    globals()["clock"] = time.process_time if given.clock == "cpu" else time.perf_counter
    import torch
    from PIL import Image
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    image = Image.effect_noise((512, 512), 80).convert("RGB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        build(folder)
        print(f"{given.threads} threads, load {os.getloadavg()[0]:.1f}, best of {given.rounds}; one 512×512 picture a chat")
        print(f"{'':44}{'first token':>12}{'tokens/s':>10}{'median':>8}{'MiB':>7}")
        idle = resident()
        makers: dict[str, Callable[[], Any]] = {
            f"ours, {name}, detail auto": lambda name=name: Ours(folder, getattr(torch, name)) for name in given.dtypes
        }
        makers["transformers generate, fp32"] = lambda: Plain(folder)
        for label, make in makers.items():
            show(label, make(), image, given.rounds, given.tokens, idle)


def show(label: str, runner: Any, image: Any, rounds: int, tokens: int, idle: float) -> None:
    for chats in (1, 4):
        report(
            f"{label}, {chats} at once", best(lambda chats=chats: runner.run(image, tokens, chats), rounds), resident() - idle
        )
    if isinstance(runner, Plain):
        found = best(lambda: runner.run(image, 2, 1, one_tile=False), 1)
        report("transformers generate, fp32, its own 17 tiles", found, resident() - idle)


def report(label: str, found: tuple[float, float, float], memory: float) -> None:
    first, speed, median = found
    print(f"{label:44}{first:10.2f} s{speed:10.1f}{median:8.1f}{memory:7.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
