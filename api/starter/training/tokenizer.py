"""The byte-pair vocabulary, learnt from captions of the world so that its words are one token each."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from transformers.convert_slow_tokenizer import bytes_to_unicode

from api.starter import world
from api.starter.architecture import TOKENIZER
from api.starter.world.words import QUALITY

MERGES = 900
_MORE_WORDS = (
    "in of on with and the a an at to one four five six many colour colours photo photograph realistic "
    "beautiful pretty small big large tall bright dark white black gray grey brown pink teal cyan water sky "
    "tree trees river cloud clouds star bird boat ship moonlight sunlight summer winter autumn spring riso print"
)


def _corpus(captions: int) -> Counter[str]:
    rng = np.random.default_rng(0)
    words: Counter[str] = Counter()
    for _ in range(captions):
        words.update(world.describe(world.sample(rng), rng).lower().replace(",", " ").replace(".", " ").split())
    words.update({word: 50 for phrase in (*QUALITY, _MORE_WORDS) for word in phrase.split()})
    return words


def _merge_best(words: dict[tuple[str, ...], int]) -> tuple[str, str] | None:
    """The most frequent pair of neighbours, the first in alphabetical order among equals."""
    pairs: Counter[tuple[str, str]] = Counter()
    for symbols, count in words.items():
        for pair in pairwise(symbols):
            pairs[pair] += count
    return min(pairs, key=lambda pair: (-pairs[pair], pair)) if pairs else None


def _apply(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def train_tokenizer(folder: Path = TOKENIZER, captions: int = 40_000) -> None:
    """Write vocab.json and merges.txt in the format of CLIPTokenizer (Sennrich et al., arXiv:1508.07909)."""
    words = {(*word[:-1], word[-1] + "</w>"): count for word, count in _corpus(captions).items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < MERGES and (pair := _merge_best(words)):
        merges.append(pair)
        words = {_apply(symbols, pair): count for symbols, count in words.items()}
    letters = list(bytes_to_unicode().values())
    entries = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(pair) for pair in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {entry: index for index, entry in enumerate(dict.fromkeys(entries))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
