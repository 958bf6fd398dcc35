"""Textual inversion embeddings that a prompt names (api/images/backends/textual_inversion.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from api.catalog import EmbeddingEntry
from api.errors import DarkroomError
from api.images.backends.local import generate
from api.images.backends.prompts import PromptEncoder
from api.images.prompt_syntax.embedding_names import find_named, put_names, put_placeholders, unusual_words
from api.images.prompt_syntax.syntaxes import A1111, COMPEL, PLAIN
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request

WIDTH = 32
VECTORS = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["sd1", "sd2", "sdxl"])
def pipeline(request: pytest.FixtureRequest, loader: ModelLoader) -> Iterator[Any]:
    with loader.use(request.param, "text-to-image") as lease:
        yield lease.pipeline


Make = Callable[..., EmbeddingEntry]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make_entry(name: str, tensors: dict[str, torch.Tensor], family: str = "sd1") -> EmbeddingEntry:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_file(tensors, file)
        return EmbeddingEntry(id=name, name=name, path=file, family=family, aliases=(name,))

    return make_entry


def tensors_for(pipeline: Any, vectors: torch.Tensor = VECTORS) -> dict[str, torch.Tensor]:
    if getattr(pipeline, "text_encoder_2", None) is None:
        return {"emb_params": vectors}
    widths = [encoder.config.hidden_size for encoder in (pipeline.text_encoder, pipeline.text_encoder_2)]
    return {name: torch.randn(len(vectors), width) for name, width in zip(("clip_l", "clip_g"), widths, strict=True)}


def encode(pipeline: Any, prompt: str, entries: list[EmbeddingEntry], syntax: str = A1111) -> torch.Tensor:
    named = find_named([prompt], entries)
    encoder = PromptEncoder(pipeline, clip_skip=None, warn=pytest.fail, syntax=syntax, embeddings=named)
    return encoder.encode(prompt, "", guided=False).embeds


def weights_of(pipeline: Any) -> str:
    digest = hashlib.sha256()
    for name in ("text_encoder", "text_encoder_2"):
        module = getattr(pipeline, name, None)
        for tensor in module.state_dict().values() if module is not None else ():
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
@pytest.mark.parametrize("syntax", [A1111, COMPEL, PLAIN])
def test_all_vectors_take_the_place_of_the_name(pipeline: Any, make: Make, syntax: str) -> None:
    """Vectors that are copies of words' own give what the words give."""
    words = ["red", "blue", "cat"]
    ids = pipeline.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    encoders = [pipeline.text_encoder, *([pipeline.text_encoder_2] if hasattr(pipeline, "text_encoder_2") else [])]
    copies = [encoder.get_input_embeddings().weight[ids].clone() for encoder in encoders]
    tensors = {"emb_params": copies[0]} if len(copies) == 1 else dict(zip(("clip_l", "clip_g"), copies, strict=True))

    by_name = encode(pipeline, "a My-Words lake", [make("My-Words", tensors)], syntax)
    by_words = encode(pipeline, "a red blue cat lake", [], syntax)

    assert torch.allclose(by_name, by_words, atol=1e-6)


@pytest.mark.parametrize("syntax", [A1111, COMPEL])
def test_it_has_a_weight_like_words(pipeline: Any, make: Make, syntax: str) -> None:
    entry = make("tok1", tensors_for(pipeline))
    marked = "a (tok1:1.5) lake" if syntax == A1111 else "a (tok1)1.5 lake"

    plain, weighted = (encode(pipeline, text, [entry], syntax) for text in ("a tok1 lake", marked))

    assert not torch.equal(plain, weighted)


def test_in_a_long_prompt_it_is_not_cut_in_two(pipeline: Any, make: Make) -> None:
    entry = make("tok1", tensors_for(pipeline))
    ends = [encode(pipeline, "red " * 37 + "tok1 " + end, [entry]) for end in ("", "blue", "BREAK blue")]
    by_compel = [encode(pipeline, "a red cat, " * 30 + "tok1 " + end, [entry], COMPEL) for end in ("", "blue")]

    assert all(not torch.equal(*pair) for pair in ((ends[0], ends[1]), (by_compel[0], by_compel[1])))
    assert all(torch.isfinite(one).all() for one in (*ends, *by_compel))


def test_nothing_is_left_behind(pipeline: Any, make: Make) -> None:
    before = weights_of(pipeline), len(pipeline.tokenizer), encode(pipeline, "a tok1 cat", [])
    encode(pipeline, "a tok1 cat", [make("tok1", tensors_for(pipeline))])

    assert before[:2] == (weights_of(pipeline), len(pipeline.tokenizer))
    assert torch.equal(before[2], encode(pipeline, "a tok1 cat", []))
    assert not pipeline.text_encoder.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize(
    ("prompt", "name", "is_named"),
    [
        ("a cat", "cat", True),
        ("cats, catalog, cat-like, Cat", "cat", False),
        ("a (cat:1.2), (cat)++", "cat", True),
        ("easynegative", "EasyNegative", True),
        ("EASYNEGATIVE2", "EasyNegative", False),
        ("(bad_prompt_v2:0.8)", "bad_prompt_v2", True),
        ("my style (v2), red", "my style (v2)", True),
        ("a.b", "a*b", False),
        ("", "cat", False),
    ],
)
def test_a_name_is_a_whole_word(prompt: str, name: str, is_named: bool) -> None:
    entry = EmbeddingEntry(id="x-1", name=name, path=Path("x"), aliases=(name,))
    named = find_named([prompt], [entry])

    assert bool(named) == is_named
    assert put_names(put_placeholders(prompt, named), named).lower() == prompt.lower()


def test_the_longest_name_is_meant() -> None:
    entries = [EmbeddingEntry(id=name, name=name, path=Path("x")) for name in ("cat", "cat red", "red")]
    text = put_placeholders("a cat red \U00100001", find_named(["a cat red \U00100001"], entries))

    assert text == "a \U00100000 \ufffd"


def test_unusual_words_are_what_no_language_has() -> None:
    assert unusual_words(["a Cat EasyNegative bad-hands-5 sunset", "bad-hands-5 1.5 4k"]) == [
        "EasyNegative",
        "bad-hands-5",
        "4k",
    ]


@pytest.mark.parametrize(
    ("tensors", "code", "words"),
    [
        ({"emb_params": torch.randn(2, 48)}, "embedding_mismatch", ["48", "32", "sd1"]),
        ({"emb_params": torch.full((1, WIDTH), torch.nan)}, "embedding_broken", ["not numbers"]),
        ({"emb_params": torch.randn(90, WIDTH)}, "embedding_broken", ["75 vectors"]),
        ({"a": torch.randn(1, WIDTH), "b": torch.randn(1, WIDTH)}, "embedding_broken", ["no textual inversion"]),
        ({"emb_params": torch.randn(1, 2, WIDTH)}, "embedding_broken", ["shape"]),
        ({"clip_l": torch.randn(1, WIDTH), "clip_g": torch.randn(2, WIDTH)}, "embedding_broken", ["different numbers"]),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_that_says_why(
    loader: ModelLoader, make: Make, hooks: Recorder, tensors: dict[str, torch.Tensor], code: str, words: list[str]
) -> None:
    catalog = replace(loader.catalog, embeddings={"tok1": make("tok1", tensors)})
    known, loader.catalog = loader.catalog, catalog
    try:
        with pytest.raises(DarkroomError) as raised:
            generate(loader, [request(prompt="a tok1 cat")], hooks)
    finally:
        loader.catalog = known

    assert (raised.value.code, raised.value.field) == (code, "prompt")
    assert all(word in raised.value.detail for word in ("tok1", *words))


@pytest.mark.parametrize("kept", [b"", b"\x80\x04garbage" * 10, b"version https://git-lfs.github.com/spec/v1\n", None])
def test_a_file_that_is_none_is_an_error(loader: ModelLoader, tmp_path: Path, hooks: Recorder, kept: bytes | None) -> None:
    file = tmp_path / "x.safetensors"
    if kept is not None:
        file.write_bytes(kept)
    known = loader.catalog
    loader.catalog = replace(known, embeddings={"tok1": EmbeddingEntry(id="tok1", name="x", path=file, family="sd1")})
    try:
        with pytest.raises(DarkroomError) as raised:
            generate(loader, [request(prompt="a tok1 cat")], hooks)
    finally:
        loader.catalog = known

    assert (raised.value.code, raised.value.status) == ("embedding_broken", 422)


def test_a_picture_is_made_with_it_and_without_it_as_ever(loader: ModelLoader, make: Make, hooks: Recorder) -> None:
    def picture() -> bytes:
        [made] = generate(loader, [request(prompt="a tok1 cat", negative_prompt="tok1", width=32, height=32)], hooks)
        return made[0].tobytes()  # type: ignore[index, union-attr]

    before, known = picture(), loader.catalog
    loader.catalog = replace(known, embeddings={"tok1": make("tok1", {"<tok1>": VECTORS[0]})})
    try:
        with_embedding = picture()
    finally:
        loader.catalog = known

    assert with_embedding != before
    assert picture() == before
