"""The tokenizer of CLIP's text encoder, which no single file has.  [torch; no Django]"""

from __future__ import annotations

import functools
import lzma
from pathlib import Path

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

MERGES = Path(__file__).with_name("clip_merges.txt.xz")
"""Of OpenAI's CLIP, one pair a line, in their order (MIT)."""
START, END, ZERO = "<|startoftext|>", "<|endoftext|>", "!"
WINDOW = 77
ZERO_PADDED = {"sd2": ("tokenizer",), "sdxl": ("tokenizer_2",), "sd3": ("tokenizer_2",)}
"""By family: the tokenizers of OpenCLIP's encoders, which were trained with zeros after the text's end."""


def make_clip_tokenizer(family: str, part: str) -> CLIPTokenizer:
    vocabulary, merges = _read()
    padding = ZERO if part in ZERO_PADDED.get(family, ()) else END
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), pad_token=padding, model_max_length=WINDOW)


@functools.cache
def _read() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Each byte, each byte at a word's end, what each merge makes, and the two marks: their places are their numbers."""
    lines = lzma.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    merges = [(first, second) for first, second in (line.split(" ") for line in lines)]
    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(first + second for first, second in merges), START, END]
    return {word: number for number, word in enumerate(words)}, merges
