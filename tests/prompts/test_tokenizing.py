"""Tokens are counted as the models' own tokenizers count them (api/images/prompt_syntax/tokenizing.py)."""

from pathlib import Path

import pytest

from api.images.prompt_syntax.tokenizing import ESTIMATE, OWN, SHARED, tokenizer_in
from api.loading.single_files.clip_tokenizer import make_clip_tokenizer
from tests.prompts.generator import make_prompt

STARTER = Path(__file__).parents[2] / "api" / "starter" / "weights" / "starter"


def test_the_shared_vocabulary_is_clips() -> None:
    theirs, ours = make_clip_tokenizer("sd1", "tokenizer"), tokenizer_in(None, is_clip=True)

    assert ours.origin == SHARED
    for text in (
        "A red CAT,  lake",
        "1girl, (masterpiece:1.2)",
        "naïve ☕ 日本 don't",
        "",
        *(make_prompt(number) for number in range(40)),
    ):
        assert list(ours.tokenize(text)) == theirs(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert ours.comma == theirs.convert_tokens_to_ids(",</w>")


def test_the_models_own_comes_first() -> None:
    assert tokenizer_in(STARTER, is_clip=True).origin == OWN


def test_vocabulary_and_merges_are_a_tokenizer_too(tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "vocab.json").write_text('{"a": 0, "b": 1, "b</w>": 2, "ab</w>": 3, "<|endoftext|>": 4, ",</w>": 5, ",": 6}')
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    read = tokenizer_in(tmp_path, is_clip=False)

    assert (list(read.tokenize("AB, ab")), read.comma, read.origin) == ([3, 5, 3], 5, OWN)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": 7}', b"\xff\xfe"])
def test_a_damaged_file_is_estimated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_bytes(content)

    assert tokenizer_in(tmp_path, is_clip=False).origin == ESTIMATE
