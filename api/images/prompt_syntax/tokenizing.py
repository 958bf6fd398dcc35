"""A model's own tokenizer, for counting: by the library `tokenizers`, which needs no torch.

CLIP's vocabulary is the same in all models of Stable Diffusion 1, 2 and XL, so the one that is kept here stands for those whose files are
not. Where there is none, tokens are estimated.
"""

import json
import lzma
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from api.images.prompt_syntax.chunks import Tokenize

SHARED_MERGES = Path(__file__).parents[2] / "loading" / "single_files" / "clip_merges.txt.xz"
OWN, SHARED, ESTIMATE = "model", "clip", "estimate"
START, END = "<|startoftext|>", "<|endoftext|>"
COMMA = ",</w>"
LARGEST_FILE = 16 << 20
LETTERS_PER_TOKEN = 7
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORDS = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")


@dataclass(frozen=True)
class CountingTokenizer:
    tokenize: Tokenize
    comma: int
    origin: str
    """`model`: the model's own; `clip`: CLIP's, which it has too; `estimate`: a rule of thumb."""


def tokenizer_in(folder: Path | None, *, is_clip: bool) -> CountingTokenizer:
    """`folder`: the model's, where it is here. `is_clip`: whether its vocabulary is CLIP's."""
    files = [] if folder is None else [folder / "tokenizer" / "tokenizer.json", folder / "tokenizer" / "vocab.json"]
    for file in files:
        if file.is_file() and file.stat().st_size <= LARGEST_FILE:
            try:
                return _counting(_load(file, file.stat().st_mtime_ns), OWN)
            except Exception:  # the library raises no other class for a damaged file
                break
    if is_clip and SHARED_MERGES.is_file():
        return _counting(_shared(), SHARED)
    return CountingTokenizer(estimate, -1, ESTIMATE)


def estimate(text: str) -> Sequence[int]:
    """Numbers without a meaning: one for a short word, a digit or a mark, more for long words. A comma is -1."""
    tokens: list[int] = []
    for word in _WORDS.findall(text):
        tokens += [-1] if word == "," else [0] * math.ceil(len(word) / LETTERS_PER_TOKEN)
    return tokens


def _counting(tokenizer: Tokenizer, origin: str) -> CountingTokenizer:
    comma = tokenizer.token_to_id(COMMA)
    return CountingTokenizer(partial(_encode, tokenizer), -1 if comma is None else comma, origin)


def _encode(tokenizer: Tokenizer, text: str) -> Sequence[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[no-any-return]


@lru_cache(maxsize=2)
def _load(file: Path, changed: int) -> Tokenizer:
    if file.name == "tokenizer.json":
        return Tokenizer.from_file(str(file))
    vocabulary = json.loads(file.read_text(encoding="utf-8"))
    lines = file.with_name("merges.txt").read_text(encoding="utf-8").splitlines()
    return _make(vocabulary, [line for line in lines if line and not line.startswith("#version")])


@lru_cache(maxsize=1)
def _shared() -> Tokenizer:
    lines = lzma.decompress(SHARED_MERGES.read_bytes()).decode("utf-8").splitlines()
    symbols = _byte_symbols()
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(line.replace(" ", "") for line in lines), START, END]
    return _make({word: number for number, word in enumerate(words)}, lines)


def _make(vocabulary: dict[str, int], lines: Sequence[str]) -> Tokenizer:
    """CLIP's rules: any case, words in pieces of bytes."""
    merges = [(first, second) for first, second in (line.split(" ") for line in lines)]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def _byte_symbols() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary: printable ones for themselves, first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
