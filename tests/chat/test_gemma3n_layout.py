"""Gemma 3n's ONNX layout (Q4_MIXED), on a small checkpoint whose answers are known."""

import numpy as np
import pytest
import torch
from PIL import Image

from api.catalog import load_catalog
from api.chat.backends.onnx_backend import OnnxBackend
from api.chat.backends.prompting import encode
from api.chat.backends.request import ChatRequest
from api.chat.backends.torch_backend import image_token_ids
from api.devices import Device
from api.downloads.store import ModelStore
from api.model_loader import ModelLoader
from tests.chat.test_torch_backend import RecordingCallbacks, request, text_of
from tests.models.tiny_gemma3n import TinyGemma3n

pytestmark = pytest.mark.models
MODEL = "tiny/gemma3n"
CATALOG = """
[models."tiny/gemma3n"]
name = "Tiny Gemma 3n"
family = "gemma3n"
task = "image-text-to-text"
path = "gemma3n"
onnx = ["Q4_MIXED"]
onnx_only = true
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyGemma3n:
    folder = tmp_path_factory.mktemp("gemma3n")
    (folder / "models.toml").write_text(CATALOG)
    return TinyGemma3n(folder / "gemma3n")


@pytest.fixture(scope="module")
def loader(tiny: TinyGemma3n) -> ModelLoader:
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    return ModelLoader(load_catalog(tiny.folder.parent / "models.toml"), ModelStore(tiny.folder), device)


def asked(question: str, *, shown: bool) -> ChatRequest:
    noise = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    return request(question, MODEL, Image.fromarray(noise) if shown else None)


def run(loader: ModelLoader, requests: list[ChatRequest]) -> list[str]:
    [model_id] = [name for name in loader.catalog.models if name.startswith(MODEL)]
    backend, heard = OnnxBackend(loader, f"{model_id}@onnx-Q4_MIXED"), [RecordingCallbacks() for _ in requests]
    for each, hearing in zip(requests, heard, strict=True):
        backend.admit(each, hearing)
    while backend.step():
        pass
    return [text_of(hearing) for hearing in heard]


def known(loader: ModelLoader, tiny: TinyGemma3n, asked: ChatRequest) -> str:
    with loader.use(f"{MODEL}@onnx-Q4_MIXED", "image-text-to-text") as lease:
        chat = lease.pipeline
        inputs = encode(chat, asked).inputs
        pixels = inputs["pixel_values"].numpy() if "pixel_values" in inputs else None
        ids = tiny.answer(inputs["input_ids"][0].tolist(), pixels, 24, image_token_ids(chat))
        end = [place for place, token in enumerate(ids) if token in chat.eos_token_ids]
        return str(chat.tokenizer.decode(ids[: min(end, default=24)], skip_special_tokens=True))


@pytest.mark.parametrize("shown", [True, False])
def test_it_answers_what_its_graphs_compute(loader: ModelLoader, tiny: TinyGemma3n, shown: bool) -> None:
    one, two = asked("What is in this image?", shown=shown), asked("a red circle above a blue square " * 8, shown=shown)
    answers = run(loader, [one, two])
    assert len(answers[0]) > 5
    assert answers == [known(loader, tiny, each) for each in (one, two)]


def test_the_picture_counts(loader: ModelLoader) -> None:
    with_picture, without = (run(loader, [asked("hello", shown=shown)])[0] for shown in (True, False))
    assert with_picture != without
