"""How well a picture fits words: cosines between CLIP's embeddings (Radford et al., arXiv:2103.00020).  [torch; no Django]

    encoder = ClipEncoder(loader, "starter-clip")
    encoder.score([picture], ["a serene lake at sunset"])[0].as_dict()

Pictures are prepared on the CPU as the checkpoint's own image processor says and go through the network in batches; the model is
pinned for the time of each call. Nothing here is kept between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from api.scoring.backends.figures import PromptScore

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.model_loader import Lease, ModelLoader

__all__ = ["TASK", "ClipEncoder", "PromptScore", "normalized"]

TASK = "zero-shot-image-classification"
MOST_PICTURES = 32
"""In one pass of the network; memory running out makes it fewer."""
MOST_TEXTS = 128

Floats = NDArray[np.float32]
Progress = Callable[[float, str], None]


class ClipEncoder:
    """Embeddings of one model of the catalog. Every call may load it, and raises what `ModelLoader.use` raises."""

    def __init__(self, loader: ModelLoader, model_id: str, on_progress: Progress | None = None) -> None:
        self.loader, self.on_progress = loader, on_progress
        self.model_id = loader.catalog.get(model_id).id

    def embed_images(self, images: Sequence[Image.Image]) -> Floats:
        """(N, D), each row of length 1."""
        return normalized(self.raw_image_features(images))

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """(N, D), each row of length 1. What is longer than the model's context is cut; see `truncated`."""
        return normalized(self.raw_text_features(texts))

    def embed_fixed(self, texts: Sequence[str]) -> Floats:
        """As `embed_texts`, for a scorer's own sentences: encoded once while the model is loaded."""
        with self._use() as lease:
            kept = lease.pipeline.cached_texts
            unread = [text for text in texts if text not in kept]
            kept |= dict(zip(unread, self.embed_texts(unread), strict=True))
            return np.stack([kept[text] for text in texts])

    def raw_image_features(self, images: Sequence[Image.Image]) -> Floats:
        """(N, D), as the network gives them. Row i does not depend on the other pictures, but for rounding."""
        with self._use():
            return self.features_of([self.preprocess(image) for image in images])

    def preprocess(self, image: Image.Image) -> PixelArray:
        """What the network sees of a picture: small, so that a batch of them can be held."""
        with self._use() as lease:
            return lease.pipeline.preprocessor.preprocess(image)  # type: ignore[no-any-return]

    def features_of(self, pixels: Sequence[PixelArray]) -> Floats:
        """(N, D), as the network gives them."""
        with self._use() as lease:
            return self._encode(lease, pixels, MOST_PICTURES, _encode_pixels)

    def raw_text_features(self, texts: Sequence[str]) -> Floats:
        """(N, D), as the network gives them; equal texts cost one pass."""
        unique = list(dict.fromkeys(texts))
        with self._use() as lease:
            found = self._encode(lease, unique, MOST_TEXTS, _encode_texts)
        places = {text: place for place, text in enumerate(unique)}
        return found[[places[text] for text in texts]]

    def load(self, on_progress: Progress | None = None) -> None:
        self.loader.load(self.model_id, on_progress)

    @property
    def size(self) -> int:
        """Pixels of a side of what the network sees."""
        with self._use() as lease:
            return int(lease.pipeline.preprocessor.width)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before the model's softmax over texts."""
        with self._use() as lease:
            return float(lease.pipeline.model.logit_scale.float().exp())

    @property
    def device(self) -> str:
        return self.loader.device.type

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """For each text, whether its end is not seen because it is longer than the model's context."""
        context = self.context_length
        return [count > context for count in self.count_tokens(texts)]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Of each text, with the two marks at its ends; also of what is longer than the model's context."""
        with self._use() as lease:
            tokenizer = lease.pipeline.tokenizer
            return [len(ids) for ids in tokenizer([defuse(text, tokenizer) for text in texts], truncation=False)["input_ids"]]

    @property
    def context_length(self) -> int:
        with self._use() as lease:
            return int(lease.pipeline.context_length)

    @property
    def patches(self) -> int:
        """Into how many parts the network divides a picture: what a text's tokens are to it."""
        with self._use() as lease:
            vision = lease.pipeline.model.config.vision_config
            return int(vision.image_size // vision.patch_size) ** 2

    def cosines(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Floats:
        """(N, M): every picture against every prompt."""
        with self._use():
            return self.embed_images(images) @ self.embed_texts(prompts).T

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[PromptScore]:
        """The i-th picture against the i-th prompt."""
        with self._use():
            cosines = (self.embed_images(images) * self.embed_texts(prompts)).sum(axis=1)
        return [PromptScore(float(cosine), self.model_id) for cosine in cosines]

    def _use(self) -> Any:
        return self.loader.use(self.model_id, TASK, self.on_progress)

    @torch.inference_mode()
    def _encode(
        self, lease: Lease, items: Sequence[object], most: int, encode: Callable[[Lease, Sequence[Any]], torch.Tensor]
    ) -> Floats:
        """In batches of `most`, fewer once memory has run out."""
        if not items:
            return np.empty((0, lease.pipeline.model.config.projection_dim), np.float32)
        found: list[Floats] = []
        for attempt in self.loader.retry_on_oom(lease, batch_size=most):
            with attempt:
                while (done := sum(map(len, found))) < len(items):
                    found.append(encode(lease, items[done : done + attempt.batch_size]).float().cpu().numpy())
        return np.concatenate(found)


def _encode_pixels(lease: Lease, pixels: Sequence[PixelArray]) -> torch.Tensor:
    clip = lease.pipeline
    tensor = clip.preprocessor.to_tensor(pixels).to(lease.device.torch_device, lease.dtype)
    output = clip.model.get_image_features(pixel_values=tensor)
    return output.pooler_output


def _encode_texts(lease: Lease, texts: Sequence[str]) -> torch.Tensor:
    clip = lease.pipeline
    tokens = clip.tokenizer(
        [defuse(text, clip.tokenizer) for text in texts],
        padding="longest",
        truncation=True,
        max_length=clip.context_length,
        return_tensors="pt",
    ).to(lease.device.torch_device)
    output = clip.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    return output.pooler_output


def defuse(text: str, tokenizer: object) -> str:
    """What a person writes is text: `<|endoftext|>` in a prompt must not end it."""
    for token in _marks(tokenizer):
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _marks(tokenizer: Any) -> Iterator[str]:
    yield from (token for token in sorted(set(tokenizer.all_special_tokens)) if len(token) > 1)


def normalized(features: Floats) -> Floats:
    """Each row divided by its Euclidean length."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, np.finfo(np.float32).tiny), np.float32)
