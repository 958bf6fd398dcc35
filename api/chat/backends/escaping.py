"""Special tokens in a client's text are escaped: it never becomes one of them.

Chat templates and processors put special tokens and user text into one string, which the tokenizer can't tell apart. So wherever user
text contains the spelling of a special token, it is replaced by private-use characters (of the same length) before the template runs,
and tokenized separately, as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import Encoding
from transformers import BatchEncoding

from api.chat.backends.request import ChatRequest

PRIVATE_USE = range(0xE000, 0xF8FF)


class SpecialTokenEscaper:
    """Replaces the spellings of added tokens in user text by placeholders; `spellings` maps placeholders back."""

    def __init__(self, tokenizer: Any, request: ChatRequest) -> None:
        user_text = "".join(texts_of(request))
        added = sorted(tokenizer.added_tokens_encoder, key=len, reverse=True)
        found = [text for text in added if len(text) > 1 and text in user_text]
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in user_text)
        self.placeholders = {text: next(free) * len(text) for text in found}
        self.spellings = {placeholder: text for text, placeholder in self.placeholders.items()}
        self.pattern = re.compile("|".join(map(re.escape, found))) if found else None

    def escape(self, text: str) -> str:
        return self.pattern.sub(lambda match: self.placeholders[match[0]], text) if self.pattern else text

    def escape_json(self, value: Any) -> Any:
        """All texts of it, keys as well."""
        if isinstance(value, Mapping):
            return {self.escape(str(key)): self.escape_json(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.escape_json(one) for one in value]
        return self.escape(value) if isinstance(value, str) else value


def texts_of(request: ChatRequest) -> Iterator[str]:
    """All that a client wrote."""
    if isinstance(request.prompt, str):
        yield request.prompt
    for turn in request.turns:
        yield from (part.text for part in turn.parts)
        yield from (text for call in turn.calls for text in (call.name, *strings_in(call.arguments)))
        yield turn.answers.name if turn.answers else ""
    for tool in request.tool_use.tools if request.tool_use else ():
        yield from strings_of(tool.definition)


def strings_in(text: str) -> list[str]:
    """Of JSON in a text: escapes may hide the spelling of a token."""
    try:
        return [text, *strings_of(json.loads(text))]
    except (ValueError, RecursionError):
        return [text]


def strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for pair in value.items() for one in pair for text in strings_of(one))
    elif isinstance(value, list | tuple):
        yield from (text for one in value for text in strings_of(one))


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
