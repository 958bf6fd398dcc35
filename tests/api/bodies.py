"""A valid body for every request that takes one, by its path in the OpenAPI document; and which of them take pictures, and forms."""

import base64
import random
import uuid
from collections.abc import Callable
from typing import Any

from PIL import Image

from api.files.decoding import encode_png
from api.files.models import StoredFile
from api.files.services import store_upload
from api.images.metadata import encode_image
from api.images.presets.services import create_preset
from api.scoring.models import Rating
from tests.rows import make_picture

ASYNC = {"Prefer": "respond-async"}
CHATS = ("/v1/chat/completions", "/chat-server/v1/chat/completions", "/chat-server/v1/chat/completions/torch")
VLM = "HuggingFaceTB/SmolVLM-256M-Instruct"


def picture(seed: int = 0) -> Image.Image:
    """Noise, so that its base64 has every character of the alphabet."""
    return Image.frombytes("RGB", (32, 32), random.Random(seed).randbytes(32 * 32 * 3))


def png(seed: int = 0) -> bytes:
    return encode_png(picture(seed))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stored(seed: int = 0) -> StoredFile:
    return store_upload(owner_key="local", data=png(seed))


def training() -> dict[str, Any]:
    """With as many ratings as one asks for."""
    for seed in range(20):
        Rating.objects.give(owner_key="local", file=stored(seed), stars=1 + seed % 5)
    return {"name": "mine"}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": VLM, "messages": [{"role": "user", "content": "What is it?"}], **fields}


def grid() -> dict[str, Any]:
    return {"request": {"prompt": "a lake", "seed": 1}, "axes": [{"field": "steps", "values": [4, 8]}]}


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "/api/txt2img/": lambda: {"prompt": "a lake"},
    "/api/img2img/": lambda: {"prompt": "a lake", "image": text(png())},
    "/api/grids/": grid,
    "/api/grids/estimate/": grid,
    "/api/preprocess/": lambda: {"image": text(png()), "kind": "canny"},
    "/api/prompt/": lambda: {"prompt": "a (red:1.2) lake", "prompt_syntax": "a1111"},
    "/api/png-info/": lambda: {"image": text(encode_image(picture(), "png", {"prompt": "a lake"}, warn=print))},
    "/api/score/": lambda: {"image": text(png())},
    "/api/score/batch/": lambda: {"items": [{"image": text(png())}]},
    "/api/clip-score/": lambda: {"images": [text(png())], "prompts": ["a lake"]},
    "/api/cutout/": lambda: {"image": text(png())},
    "/api/detect/": lambda: {"image": text(png())},
    "/api/upscale/": lambda: {"image": text(png()), "model_id": "lanczos"},
    "/api/hazards/": lambda: {"image": text(png())},
    "/api/ocr/": lambda: {"image": text(png())},
    "/api/scorers/": training,
    "/api/ratings/": lambda: {"image": str(stored().pk), "rating": 4},
    "/api/comparisons/": lambda: {"images": [str(stored(1).pk), str(stored(2).pk)], "preferred": None},
    "/api/images/": lambda: {"image": text(png())},
    "/api/images/{id}/": dict,
    "/api/presets/": lambda: {"name": f"a-preset-{uuid.uuid4()}", "request": {"prompt": "a lake", "steps": 5}},
    "/api/presets/{name}/": lambda: {"request": {"prompt": "a {prompt}"}},
    "/api/drains/": lambda: {"hostname": f"machine-{uuid.uuid4()}"},
    "/api/models/{model_id}/load/": dict,
    "/api/models/{model_id}/unload/": dict,
    "/v1/images/generations": lambda: {"prompt": "a lake"},
    "/v1/images/edits": lambda: {"prompt": "a lake", "image": text(png())},
    "/v1/images/variations": lambda: {"image": text(png())},
    "/v1/detection": lambda: {"image": text(png())},
    "/v1/completions": lambda: {"prompt": "A lake is", "model": VLM},
    "/v1/embeddings": lambda: {"input": ["a lake", f"data:image/png;base64,{text(png())}"]},
    **dict.fromkeys(CHATS, chat),
    "/api/conversations/{id}/branch/": lambda: {"job": str(uuid.uuid4())},
    "/v1/responses/input_tokens": lambda: {"model": VLM, "input": "What is it?"},
    "/v1/responses": lambda: {"model": VLM, "input": "What is it?"},
    "/hf/text-to-image": lambda: {"inputs": "a lake"},
    "/hf/image-to-image": lambda: {"inputs": text(png()), "parameters": {"prompt": "a lake"}},
    "/hf/image-to-text": lambda: {"inputs": text(png()), "parameters": {"model": VLM}},
    "/hf/visual-question-answering": lambda: {"inputs": text(png()), "question": "What is it?", "parameters": {"model": VLM}},
    "/hf/object-detection": lambda: {"inputs": text(png())},
    "/hf/zero-shot-image-classification": lambda: {"inputs": text(png()), "parameters": {"candidate_labels": ["a", "b"]}},
    "/hf/models/{model_id}": lambda: {"inputs": "a lake"},
}
HUGGING_FACE = tuple(path for path in BODIES if path.startswith("/hf/"))
FORM_PATHS = (
    "txt2img",
    "img2img",
    "grids",
    "score",
    "clip-score",
    "cutout",
    "detect",
    "hazards",
    "ocr",
    "preprocess",
    "upscale",
)
FORMS = [path for path in BODIES if path.startswith("/api/") and path.split("/")[2] in FORM_PATHS and "estimate" not in path]


def address(path: str) -> str:
    """With what the document's path leaves open filled in."""
    if path == "/api/images/{id}/":
        return f"/api/images/{make_picture().pk}/"
    if path == "/api/presets/{name}/":
        name = f"a-preset-{uuid.uuid4()}"
        return f"/api/presets/{create_preset(name=name, owner_key='local', request={'prompt': 'a'}).name}/"
    return path.replace("{model_id}", "starter").replace("{id}", str(uuid.uuid4()))
