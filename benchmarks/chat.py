"""Chats at SmolVLM-256M's size, with random weights: first token and tokens a second, alone and four at once.

Everything is measured beside transformers' own `generate` in fp32, in the same run; the best of some rounds counts, since what else runs
on a machine only ever slows down. Each way has a process of its own: its memory is what that holds above what its libraries take, after
the chats (MiB) and at the most while they went on (peak).

    python -m benchmarks.chat --rounds 3 --tokens 48

The first run writes the model and its int8 export (some minutes) to --folder, where they stay.
`--clock cpu` counts this process's own processor time instead (with --threads 1 it is what a quiet machine would take).
"""

import gc
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
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
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil, Idefics3Processor

    from tests.models.tiny_chat import SPECIAL, TEMPLATE, make_tokenizer, save

    torch.manual_seed(0)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = with_words(make_tokenizer([*SPECIAL, *tiles]))
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


def with_words(tokenizer: Any) -> Any:
    """The vocabulary filled up to its size, as a trained one would be."""
    from tokenizers import Tokenizer

    told = json.loads(tokenizer.backend_tokenizer.to_str())
    told["model"]["vocab"] |= {f"w{number}": number for number in range(len(tokenizer), VOCABULARY)}
    return type(tokenizer)(
        tokenizer_object=Tokenizer.from_str(json.dumps(told)),
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.pad_token,
        bos_token=tokenizer.bos_token,
    )


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
    """`way`: a torch dtype, or int8 on ONNX."""

    def __init__(self, folder: Path, way: str) -> None:
        import torch

        from api.catalog import Catalog, ModelEntry
        from api.chat.backends.onnx_backend import OnnxBackend
        from api.chat.backends.torch_backend import TorchBackend
        from api.devices import Device
        from api.downloads.store import ModelStore
        from api.model_loader import ModelLoader

        entry = ModelEntry(id=MODEL, name=MODEL, task="image-text-to-text", path=folder)
        dtype = torch.float32 if way == "int8" else getattr(torch, way)
        device = Device("cpu", 0, "", dtype, True, psutil.virtual_memory().total)
        loader = ModelLoader(Catalog({MODEL: entry}, {}), ModelStore(folder), device)
        self.backend = OnnxBackend(loader, f"{MODEL}@onnx-int8") if way == "int8" else TorchBackend(loader, MODEL)
        loader.load(self.backend.entry.id)

    def run(self, image: Any, tokens: int, chats: int) -> tuple[float, float]:
        """Seconds to the first token of the first chat, and tokens a second once all are being written."""
        from api.chat.backends.request import ChatRequest, MessagePart, Sampling, Turn

        request = ChatRequest(
            model_id=MODEL,
            turns=(Turn("user", (MessagePart(image=image), MessagePart(text=QUESTION))),),
            sampling=Sampling(temperature=0.0, max_tokens=tokens + 4 * chats),
        )
        started = clock()
        self.backend.admit(request, Deaf())
        while self.backend.decode_loop.prefilling:
            self.backend.step()
        first = clock() - started
        for _ in range(chats - 1):
            self.backend.admit(request, Deaf())
        while len(self.backend.decode_loop.rows) < chats:
            self.backend.step()
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


class Peak(threading.Thread):
    """The most memory that this process held, looked at every 10 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest, self.over = 0.0, threading.Event()

    def run(self) -> None:
        process = psutil.Process()
        while not self.over.wait(0.01):
            self.highest = max(self.highest, process.memory_info().rss / 2**20)

    def __enter__(self) -> "Peak":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join()


def main() -> None:
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tokens", type=int, default=48)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument(
        "--ways", nargs="+", default=["int8", "float32", "plain"], help="int8 is ONNX; float32, bfloat16; plain"
    )
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / MODEL)
    options.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    given = options.parse_args()
    prepare(given.folder, "int8" in given.ways)
    print(f"{given.threads} threads, load {os.getloadavg()[0]:.1f}, best of {given.rounds}; one 512×512 picture a chat")
    print(f"{'':44}{'first token':>12}{'tokens/s':>10}{'median':>8}{'MiB':>7}{'peak':>7}")
    for way in given.ways:
        process = multiprocessing.get_context("spawn").Process(target=show, args=(way, given))
        process.start()
        process.join()


def prepare(folder: Path, exported: bool) -> None:
    from api.chat.export import export_onnx

    if not (folder / "model.safetensors").is_file():
        build(folder)
    if exported and not (folder / "onnx" / "decoder_model_merged_int8.onnx").is_file():
        export_onnx(folder, folder, "int8", check=False)


def show(way: str, given: Namespace) -> None:
    import torch
    from PIL import Image
    from transformers.utils import logging

    import api.chat.backends.onnx_backend
    import api.loading.chat  # noqa: F401  (what a worker has imported before it loads its first model)

    globals()["clock"] = time.process_time if given.clock == "cpu" else time.perf_counter
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    image = Image.effect_noise((512, 512), 80).convert("RGB")
    idle = resident()
    runner = Plain(given.folder) if way == "plain" else Ours(given.folder, way)
    label = {"plain": "transformers generate, fp32", "int8": "ours, ONNX int8"}.get(way, f"ours, {way}")
    loaded = resident() - idle
    for chats in (1, 4):
        with Peak() as peak:
            found = best(lambda chats=chats: runner.run(image, given.tokens, chats), given.rounds)
        report(f"{label}, {chats} at once", found, resident() - idle, peak.highest - idle)
    if isinstance(runner, Plain):
        with Peak() as peak:
            found = best(lambda: runner.run(image, 2, 1, one_tile=False), 1)
        report("transformers generate, fp32, its own 17 tiles", found, resident() - idle, peak.highest - idle)
    print(f"{'':44}{'after loading':>30}{loaded:7.0f}", flush=True)


def report(label: str, found: tuple[float, float, float], memory: float, peak: float) -> None:
    first, speed, median = found
    print(f"{label:44}{first:10.2f} s{speed:10.1f}{median:8.1f}{memory:7.0f}{peak:7.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
