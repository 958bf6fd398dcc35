"""From messages to the tensors that a model is asked with: its chat template, its pictures, and no special token from a client.

Templates, and the processors of models that see, put special tokens into one text together with what people wrote, and the
tokenizer can't tell them apart. So wherever a text has a special token's spelling, it goes through the template behind characters
of the private use area (as many as it is long) and is turned into tokens apart from the rest: plain ones.
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

from api.chat.backends.batching import WRITERS
from api.chat.backends.request import ChatRequest, Turn
from api.errors import DarkroomError
from api.loading.chat import ChatModel

PRIVATE_USE = range(0xE000, 0xF8FF)
SMALL = 512
"""Pixels of the longer side at `detail` low and auto, for models that take pictures of any size."""
PLAIN_TEMPLATES = {
    "blip-2": "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['text'] }}\n{% else %}Question: {{ m['text'] }} Answer:"
    "{% endif %}{% endfor %}",
    "kosmos-2": "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['text'] }}\n{% else %}Question: "
    "{{ m['text'] }} Answer:{% endif %}{% endfor %}",
    "": "{% for m in messages %}{{ m['text'] }}\n{% endfor %}",
}
"""For models that were published without a chat template; '' is a model that only goes on with a text."""


@dataclass
class Prompt:
    """`inputs`: what the model's forward takes, on the CPU; input_ids (1, length)."""

    inputs: dict[str, torch.Tensor]
    owner: str = ""
    marks: torch.Tensor | None = None
    """(length,) int64: what is compared to find what was read before (memory.Prefix); None where this can't be."""

    @property
    def length(self) -> int:
        return int(self.inputs["input_ids"].shape[1])


def encode(chat: ChatModel, request: ChatRequest) -> Prompt:
    """Raises DarkroomError for messages that the model's template refuses."""
    fence = Fence(chat.tokenizer, request)
    text = render(chat, request.turns, fence)
    tokenizer = FencedTokenizer(chat.tokenizer, fence.spellings) if fence.spellings else chat.tokenizer
    begins = bool(chat.tokenizer.bos_token) and text.startswith(chat.tokenizer.bos_token)
    special = not begins and template_of(chat) is None
    if chat.processor is None:
        found = tokenizer([text], add_special_tokens=special)
        return Prompt({name: torch.tensor(found[name]) for name in ("input_ids", "attention_mask")}, request.owner)
    if chat.config.model_type in WRITERS and len(request.images) > 1:
        detail = f"This model looks at one picture; there are {len(request.images)}."
        raise DarkroomError("too_many_images", 400, detail, field="messages")
    processor = copy.copy(chat.processor)
    processor.tokenizer = tokenizer
    images = look(processor, request)
    found = processor(text=[text], images=[images] if images else None, return_tensors="pt")
    return Prompt({name: value for name, value in found.items() if isinstance(value, torch.Tensor)}, request.owner)


# ---------------------------------------------------------------- pictures


def look(processor: Any, request: ChatRequest) -> list[Image.Image]:
    """The pictures as the processor is to take them: at `detail` low and auto each as one tile, at high as the model's own splitting."""
    closely = [part.detail == "high" for turn in request.turns for part in turn.parts if part.image is not None]
    if all(closely):
        return request.images
    if hasattr(processor.image_processor, "do_image_splitting"):
        processor.image_processor = Tiler(processor.image_processor, closely)
        return request.images
    return [image if high else shrink(image) for image, high in zip(request.images, closely, strict=True)]


class Tiler:
    """Stands in for an image processor in one call: splits the pictures that are looked at `closely`, takes the others as one tile.

    All tiles have one size, so those of several calls go into one tensor.
    """

    def __init__(self, vision: Any, closely: list[bool]) -> None:
        self.vision, self.closely = vision, closely

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vision, name)

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        whole = {
            "do_image_splitting": False,
            "size": dict(self.vision.max_image_size),
        }  # size: not blown up to four tiles' width first
        flat = [image for group in images for image in group]
        found = [
            self.vision([[image]], **{**options, **({} if high else whole)})
            for image, high in zip(flat, self.closely, strict=True)
        ]
        merged: dict[str, Any] = {name: [[each[name][0][0] for each in found]] for name in ("rows", "cols")}
        for name in self.vision.model_input_names:
            merged[name] = torch.cat([torch.as_tensor(each[name]) for each in found], dim=1)
        return BatchFeature(merged)


def shrink(image: Image.Image) -> Image.Image:
    if max(image.size) <= SMALL:
        return image
    small = image.copy()
    small.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
    return small


# ---------------------------------------------------------------- text


def template_of(chat: ChatModel) -> str | None:
    return getattr(chat.processor, "chat_template", None) or getattr(chat.tokenizer, "chat_template", None)


def render(chat: ChatModel, turns: tuple[Turn, ...], fence: Fence) -> str:
    renderer = chat.processor if getattr(chat.processor, "chat_template", None) else chat.tokenizer
    template = None
    if template_of(chat) is None:
        template = PLAIN_TEMPLATES.get(chat.config.model_type, PLAIN_TEMPLATES[""])
    messages = [message_for(turn, fence, parts=chat.processor is not None) for turn in turns]
    try:
        return str(renderer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        reason = " ".join(str(error).split())[:200]
        raise DarkroomError(
            "messages_refused", 400, f"This model's template refuses these messages: {reason}", field="messages"
        ) from None


def message_for(turn: Turn, fence: Fence, *, parts: bool) -> dict[str, Any]:
    text = fence.hide(turn.text)
    shown = [
        {"type": "text", "text": fence.hide(part.text)} if part.image is None else {"type": "image"} for part in turn.parts
    ]
    return {"role": turn.role, "content": shown if parts else text, "text": text}


class Fence:
    """Hides every spelling of an added token in what people wrote; `spellings` says what each stand-in stands for."""

    def __init__(self, tokenizer: Any, request: ChatRequest) -> None:
        said = "".join(part.text for turn in request.turns for part in turn.parts)
        added = sorted(tokenizer.added_tokens_encoder, key=len, reverse=True)
        found = [text for text in added if len(text) > 1 and text in said]
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in said)
        self.stand_ins = {text: next(free) * len(text) for text in found}
        self.spellings = {stand_in: text for text, stand_in in self.stand_ins.items()}
        self.pattern = re.compile("|".join(map(re.escape, found))) if found else None

    def hide(self, text: str) -> str:
        return self.pattern.sub(lambda match: self.stand_ins[match[0]], text) if self.pattern else text


class FencedTokenizer:
    """Stands in for a fast tokenizer in one call."""

    def __init__(self, tokenizer: Any, spellings: dict[str, str]) -> None:
        self.tokenizer, self.spellings = tokenizer, spellings

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, text: str | list[str], *, add_special_tokens: bool = True, **options: Any) -> BatchEncoding:
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
    """One text's pieces. A merged Encoding no longer knows which sequence its tokens are of, and so finds none by character."""

    def __init__(self, merged: Encoding, *, batched: bool) -> None:
        told: dict[str, list[Any]] = {"input_ids": merged.ids, "attention_mask": merged.attention_mask}
        super().__init__({name: [ids] if batched else ids for name, ids in told.items()}, encoding=[merged])

    def char_to_token(self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0) -> int | None:
        char = batch_or_char_index if char_index is None else char_index
        return next((place for place, (start, end) in enumerate(self.encodings[0].offsets) if start <= char < end), None)
