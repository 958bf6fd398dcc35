"""The tokenizer of T5's text encoder, which no single file has.  [torch; no Django]"""

from __future__ import annotations

import functools
import lzma
from pathlib import Path

from transformers import T5Tokenizer

PIECES = Path(__file__).with_name("t5_pieces.model.xz")
"""T5's own SentencePiece model, which is that of T5 v1.1 too (Apache 2.0)."""
SENTINELS = 100
"""<extra_id_99> … <extra_id_0> follow the pieces: gaps of T5's training, which no prompt has."""
WINDOW = 512


def make_t5_tokenizer() -> T5Tokenizer:
    vocabulary, normalization = _read()
    return T5Tokenizer(
        vocab=list(vocabulary), _spm_precompiled_charsmap=normalization, extra_ids=SENTINELS, model_max_length=WINDOW
    )


@functools.cache
def _read() -> tuple[list[tuple[str, float]], bytes]:
    """Each piece with its logarithmic probability, in the order of their numbers; and the rules by which Unicode is normalized."""
    from sentencepiece import sentencepiece_model_pb2  # for models with T5 alone

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(lzma.decompress(PIECES.read_bytes()))
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(SENTINELS))]
    return [*((piece.piece, piece.score) for piece in model.pieces), *sentinels], model.normalizer_spec.precompiled_charsmap
