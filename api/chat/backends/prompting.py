"""From messages to model inputs: chat template, image processor, tokenizer. Special tokens in a client's text are escaped.

Chat templates and processors put special tokens and user text into one string, which the tokenizer can't tell apart. So wherever user
text contains the spelling of a special token, it is replaced by private-use characters (of the same length) before the template runs,
and tokenized separately, as plain text.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image
from tokenizers import Encoding
from transformers import BatchEncoding, BatchFeature

from api.chat.backends.request import ChatRequest, Turn
from api.chat.backends.sequence_groups import TEXT_DECODERS
from api.errors import DarkroomError
from api.loading.chat import ChatModel

PRIVATE_USE = range(0xE000, 0xF8FF)
LOW_DETAIL_PIXELS = 512
"""Longer side in pixels at `detail` low and auto, for models that accept images of any size."""
FALLBACK_TEMPLATES = {
    "blip-2": "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['text'] }}\n{% else %}Question: {{ m['text'] }} Answer:"
    "{% endif %}{% endfor %}",
    "kosmos-2": "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['text'] }}\n{% else %}Question: "
    "{{ m['text'] }} Answer:{% endif %}{% endfor %}",
    "": "{% for m in messages %}{{ m['text'] }}\n{% endfor %}",
}
"""By model_type, for models without a chat template; '' is for base models, which continue a text."""


@dataclass
class Prompt:
    """`inputs`: arguments of the model's forward, on the CPU; input_ids (1, length)."""

    inputs: dict[str, torch.Tensor]
    owner: str = ""
    token_keys: torch.Tensor | None = None
    """(length,) int64: compared with `CachedPrefix.token_keys`; None for a prompt that is prefilled whole."""

    @property
    def length(self) -> int:
        return int(self.inputs["input_ids"].shape[1])


def encode(chat: ChatModel, request: ChatRequest) -> Prompt:
    """Tokenize a request. Raises DarkroomError (messages_refused, too_many_images)."""
    escaper = SpecialTokenEscaper(chat.tokenizer, request)
    text = render(chat, request.turns, escaper)
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


# ---------------------------------------------------------------- pictures


def images_for_processor(processor: Any, request: ChatRequest) -> list[Image.Image]:
    """The images as the processor gets them: one tile at `detail` low and auto; at high, the model's own tiling."""
    high_detail = [part.detail == "high" for turn in request.turns for part in turn.parts if part.image is not None]
    if all(high_detail):
        return request.images
    if hasattr(processor.image_processor, "do_image_splitting"):
        processor.image_processor = SelectiveTiler(processor.image_processor, high_detail)
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


def shrink(image: Image.Image) -> Image.Image:
    if max(image.size) <= LOW_DETAIL_PIXELS:
        return image
    small = image.copy()
    small.thumbnail((LOW_DETAIL_PIXELS, LOW_DETAIL_PIXELS), Image.Resampling.LANCZOS)
    return small


# ---------------------------------------------------------------- text


def template_of(chat: ChatModel) -> str | None:
    return getattr(chat.processor, "chat_template", None) or getattr(chat.tokenizer, "chat_template", None)


def render(chat: ChatModel, turns: tuple[Turn, ...], escaper: SpecialTokenEscaper) -> str:
    renderer = chat.processor if getattr(chat.processor, "chat_template", None) else chat.tokenizer
    template = None
    if template_of(chat) is None:
        template = FALLBACK_TEMPLATES.get(chat.config.model_type, FALLBACK_TEMPLATES[""])
    messages = [message_for(turn, escaper, parts=chat.processor is not None) for turn in turns]
    try:
        return str(renderer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        reason = " ".join(str(error).split())[:200]
        raise DarkroomError(
            "messages_refused", 400, f"This model's template refuses these messages: {reason}", field="messages"
        ) from None


def message_for(turn: Turn, escaper: SpecialTokenEscaper, *, parts: bool) -> dict[str, Any]:
    text = escaper.escape(turn.text)
    content = [
        {"type": "text", "text": escaper.escape(part.text)} if part.image is None else {"type": "image"} for part in turn.parts
    ]
    return {"role": turn.role, "content": content if parts else text, "text": text}


class SpecialTokenEscaper:
    """Replaces the spellings of added tokens in user text by placeholders; `spellings` maps placeholders back."""

    def __init__(self, tokenizer: Any, request: ChatRequest) -> None:
        user_text = "".join(part.text for turn in request.turns for part in turn.parts)
        added = sorted(tokenizer.added_tokens_encoder, key=len, reverse=True)
        found = [text for text in added if len(text) > 1 and text in user_text]
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in user_text)
        self.placeholders = {text: next(free) * len(text) for text in found}
        self.spellings = {placeholder: text for text, placeholder in self.placeholders.items()}
        self.pattern = re.compile("|".join(map(re.escape, found))) if found else None

    def escape(self, text: str) -> str:
        return self.pattern.sub(lambda match: self.placeholders[match[0]], text) if self.pattern else text


class EscapingTokenizer:
    """Wraps a fast tokenizer for one call: tokenizes the placeholders of SpecialTokenEscaper as plain text."""

    def __init__(self, tokenizer: Any, spellings: dict[str, str]) -> None:
        self.tokenizer, self.spellings = tokenizer, spellings

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, text: str | list[str], *, add_special_tokens: bool = True, **options: object) -> BatchEncoding:
        whole = text if isinstance(text, str) else text[0]
        pieces = re.split(f"({'|'.join(map(re.escape, self.spellings))})", whole)
        specials = [add_special_tokens and not number for number in range(len(pieces))]
        encodings = [encoding for pair in zip(pieces, specials, strict=True) for encoding in self.encode(*pair)]
        return MergedEncoding(Encoding.merge(encodings, growing_offsets=True), batched=not isinstance(text, str))

    def encode(self, piece: str, special: bool) -> list[Encoding]:
        backend = self.tokenizer.backend_tokenizer
        if piece in self.spellings:  # in two halves, neither of which is the token
            plain = self.spellings[piece]
            return [backend.encode(half, add_special_tokens=False) for half in (plain[:1], plain[1:])]
        return [backend.encode(piece, add_special_tokens=special)] if piece else []


class MergedEncoding(BatchEncoding):
    """A BatchEncoding of merged pieces. A merged Encoding has lost its sequence ids, so char_to_token is computed from offsets."""

    def __init__(self, merged: Encoding, *, batched: bool) -> None:
        fields: dict[str, list[Any]] = {"input_ids": merged.ids, "attention_mask": merged.attention_mask}
        super().__init__({name: [ids] if batched else ids for name, ids in fields.items()}, encoding=[merged])

    def char_to_token(self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0) -> int | None:
        char = batch_or_char_index if char_index is None else char_index
        return next((place for place, (start, end) in enumerate(self.encodings[0].offsets) if start <= char < end), None)
