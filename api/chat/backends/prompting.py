"""From messages to model inputs: chat template, image processor, tokenizer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature

from api.chat.backends.detokenizer import text_offsets
from api.chat.backends.escaping import EscapingTokenizer, SpecialTokenEscaper
from api.chat.backends.request import ChatRequest, PromptScores
from api.chat.backends.sequence_groups import TEXT_DECODERS
from api.chat.backends.templates import render, template_of
from api.errors import DarkroomError
from api.loading.chat import ChatModel

IMAGE_TOKEN_KEYS = ("image_token_id", "image_token_index", "video_token_id", "vision_start_token_id")
LOW_DETAIL_PIXELS = 512
"""Longer side in pixels at `detail` low and auto, for models that accept images of any size."""


@dataclass
class Prompt:
    """`inputs`: arguments of the model's forward, on the CPU; input_ids (1, length)."""

    inputs: dict[str, torch.Tensor]
    owner: str = ""
    scores: PromptScores | None = None
    tokenizer: Any = None
    """The tokenizers library's, which writes `scores`."""
    token_keys: torch.Tensor | None = None
    """(length,) int64: compared with `CachedPrefix.token_keys`; None for a prompt that is prefilled whole."""

    @property
    def length(self) -> int:
        return int(self.inputs["input_ids"].shape[1])


def encode(chat: ChatModel, request: ChatRequest) -> Prompt:
    """Tokenize a request. Raises DarkroomError (messages_refused, too_many_images, unknown_token)."""
    if request.prompt is not None:
        return encode_raw(chat, request, request.prompt)
    escaper = SpecialTokenEscaper(chat.tokenizer, request)
    text = render(chat, request, escaper)
    tokenizer = EscapingTokenizer(chat.tokenizer, escaper.spellings) if escaper.spellings else chat.tokenizer
    has_bos = bool(chat.tokenizer.bos_token) and text.startswith(chat.tokenizer.bos_token)
    special = not has_bos and template_of(chat) is None
    if chat.processor is None:
        found = tokenizer([text], add_special_tokens=special)
        return Prompt({name: torch.tensor(found[name]) for name in ("input_ids", "attention_mask")}, request.owner)
    if chat.config.model_type in TEXT_DECODERS and len(request.images) > 1:
        detail = f"This model looks at one picture; there are {len(request.images)}."
        raise DarkroomError("too_many_images", 400, detail, field="messages")
    processor = copy.copy(chat.processor)
    processor.tokenizer = tokenizer
    images = images_for_processor(processor, request)
    found = processor(text=[text], images=[images] if images else None, return_tensors="pt")
    return Prompt({name: value for name, value in found.items() if isinstance(value, torch.Tensor)}, request.owner)


def encode_raw(chat: ChatModel, request: ChatRequest, prompt: str | tuple[int, ...]) -> Prompt:
    """A prompt without a template. A text begins as the tokenizer begins one; token ids are taken as they are."""
    if isinstance(prompt, str):
        escaper = SpecialTokenEscaper(chat.tokenizer, request)
        tokenizer = EscapingTokenizer(chat.tokenizer, escaper.spellings) if escaper.spellings else chat.tokenizer
        ids = list(tokenizer([escaper.escape(prompt)], add_special_tokens=True)["input_ids"][0])
    else:
        ids = list(prompt)
        check_ids(chat, ids)
    ids = ids or [first_token(chat)]
    if request.scores is not None:
        skips_special = isinstance(prompt, str)  # those that the tokenizer has added
        request.scores.offsets = text_offsets(chat.tokenizer.backend_tokenizer, ids, skips_special)
    input_ids = torch.tensor([ids], dtype=torch.long)
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    return Prompt(inputs, request.owner, request.scores, chat.tokenizer.backend_tokenizer)


def check_ids(chat: ChatModel, ids: list[int]) -> None:
    pictures = set(image_token_ids(chat))
    for token in ids:
        if token >= chat.vocabulary or token in pictures:
            why = "stands for a part of a picture" if token in pictures else f"is unknown; the last is {chat.vocabulary - 1}"
            raise DarkroomError("unknown_prompt_token", 400, f"The token {token} {why}.", field="prompt")


def first_token(chat: ChatModel) -> int:
    """What an empty prompt is to a model: the beginning of a text."""
    token = chat.tokenizer.bos_token_id
    return int(chat.eos_token_ids[0] if token is None else token)


def image_token_ids(chat: ChatModel) -> tuple[int, ...]:
    ids = {getattr(chat.config, name, None) for name in IMAGE_TOKEN_KEYS}
    return tuple(sorted(token for token in ids if isinstance(token, int) and token < chat.vocabulary))


# ---------------------------------------------------------------- pictures


def images_for_processor(processor: Any, request: ChatRequest) -> list[Image.Image]:
    """The images as the processor gets them: one tile at `detail` low and auto; at high, the model's own tiling."""
    high_detail = [part.detail == "high" for turn in request.turns for part in turn.parts if part.image is not None]
    if all(high_detail):
        return request.images
    if hasattr(processor.image_processor, "do_image_splitting"):
        processor.image_processor = SelectiveTiler(processor.image_processor, high_detail)
        return request.images
    if hasattr(processor.image_processor, "crop_to_patches"):
        processor.image_processor = SelectiveCropper(processor.image_processor, high_detail)
        return request.images
    return [image if is_high else shrink(image) for image, is_high in zip(request.images, high_detail, strict=True)]


class SelectiveTiler:
    """Wraps an image processor for one call: tiles the `high_detail` images and resizes each other image to one tile.

    All tiles have the same size, so the results are concatenated into one tensor.
    """

    def __init__(self, image_processor: Any, high_detail: list[bool]) -> None:
        self.image_processor, self.high_detail = image_processor, high_detail

    def __getattr__(self, name: str) -> Any:
        return getattr(self.image_processor, name)

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        whole = {
            "do_image_splitting": False,
            "size": dict(self.image_processor.max_image_size),
        }  # without "size" the image would first be enlarged to the width of four tiles
        flat = [image for group in images for image in group]
        found = [
            self.image_processor([[image]], **{**options, **({} if is_high else whole)})
            for image, is_high in zip(flat, self.high_detail, strict=True)
        ]
        merged: dict[str, Any] = {name: [[each[name][0][0] for each in found]] for name in ("rows", "cols")}
        for name in self.image_processor.model_input_names:
            merged[name] = torch.cat([torch.as_tensor(each[name]) for each in found], dim=1)
        return BatchFeature(merged)


class SelectiveCropper(SelectiveTiler):
    """The same for InternVL: any picture that is not square would be cut into up to 12 patches."""

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        found = [
            self.image_processor([image], **{**options, "crop_to_patches": is_high})
            for image, is_high in zip((image for group in images for image in group), self.high_detail, strict=True)
        ]
        return BatchFeature(
            {
                "pixel_values": torch.cat([torch.as_tensor(each["pixel_values"]) for each in found]),
                "num_patches": [int(count) for each in found for count in each["num_patches"]],
            }
        )


def shrink(image: Image.Image) -> Image.Image:
    if max(image.size) <= LOW_DETAIL_PIXELS:
        return image
    small = image.copy()
    small.thumbnail((LOW_DETAIL_PIXELS, LOW_DETAIL_PIXELS), Image.Resampling.LANCZOS)
    return small
