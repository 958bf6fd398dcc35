"""A part of `benchmarks.gpu`: chats at SmolVLM-256M's size.  [torch; no Django]"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

from api.catalog import Catalog, ModelEntry
from api.downloads.store import ModelStore
from api.model_loader import ModelLoader
from benchmarks.gpu_run import Run

CHATS = (1, 8)


def chats(run: Run) -> None:
    """SmolVLM-256M's size, a picture in each chat."""
    folder = run.models.folder / "vlm"
    build_chat_model(folder, run.tiny)
    for precision in ("bf16", "int8", "int4"):
        run.table.start(f"chats at SmolVLM-256M's size, {precision}")
        missing = "" if run.device.type == "cuda" else f"this is a {run.device.type} device"
        missing = missing or ("" if find_spec("bitsandbytes") else "the package bitsandbytes is not installed")
        if precision != "bf16" and missing:
            run.table.add("not measured", missing)
            continue
        entry = ModelEntry(id="vlm", name="vlm", task="image-text-to-text", path=folder, precision=precision)
        loader = ModelLoader(Catalog({"vlm": entry}, {}), ModelStore(folder), run.device)
        with run.going_on(precision):
            loader.load("vlm")
            for count in CHATS:
                talk(loader, count, 4)
                first, speed = talk(loader, count, 8 if run.tiny else 48)
                told = f"first token of all {first:6.2f} s, {speed:7.1f} tokens/s"
                run.table.add(f"{count} at once", told, first_token_s=first, tokens_per_s=speed)
            loader.unload("vlm")


def build_chat_model(folder: Path, tiny: bool) -> None:
    from benchmarks.chat import build
    from tests.models.tiny_chat import build_tiny_vlm

    if tiny:
        build_tiny_vlm(folder)
    else:
        build(folder)


def talk(loader: ModelLoader, count: int, tokens: int) -> tuple[float, float]:
    """Seconds until every chat has its first token, and tokens a second of all together from then on."""
    from PIL import Image

    from api.chat.backends.request import ChatRequest, MessagePart, Sampling, Turn
    from api.chat.backends.torch_backend import TorchBackend
    from benchmarks.chat import QUESTION, Deaf

    turn = Turn("user", (MessagePart(image=Image.effect_noise((512, 512), 80).convert("RGB")), MessagePart(text=QUESTION)))
    request = ChatRequest(model_id="vlm", turns=(turn,), sampling=Sampling(temperature=0.0, max_tokens=tokens + 8 * count))
    backend, started = TorchBackend(loader, "vlm"), time.perf_counter()
    for _ in range(count):
        backend.admit(request, Deaf())
    while len(backend.decode_loop.rows) < count and backend.step():
        pass
    begun, written = time.perf_counter(), 0
    while written < tokens and backend.rows == count:
        backend.step()
        written += 1
    return begun - started, written * count / (time.perf_counter() - begun)
