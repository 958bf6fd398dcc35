"""Cosines of pictures and prompts: the same as CLIPModel's own, whatever the batch, and the four figures made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.multimodal import clip_score
from transformers import CLIPModel, CLIPProcessor

from api.catalog import load_catalog
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.model_loader import ModelLoader
from api.scoring.backends import clip
from api.scoring.backends.clip import ClipEncoder, PromptScore
from api.starter import world
from api.starter.architecture import WEIGHTS

pytestmark = pytest.mark.models
PROMPTS = ["a lake at sunset", "a pizza with pepperoni", "a red circle on a white ground", "a city skyline at night"]
STARTER = WEIGHTS / "starter-clip"


def make_loader(folder: Path, dtype: torch.dtype = torch.float32) -> ModelLoader:
    return ModelLoader(load_catalog(), ModelStore(folder), dataclasses.replace(probe_device("cpu"), dtype=dtype))


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    return make_loader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def encoder(loader: ModelLoader) -> ClipEncoder:
    return ClipEncoder(loader, "starter-clip")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Drawn by the starter's world, of several shapes."""
    rng = np.random.default_rng(5)
    drawn = [world.render(world.sample(rng), seed) for seed in range(4)]
    shapes = [(128, 128), (400, 200), (129, 300), (64, 50)]
    return [Image.fromarray(np.asarray(picture)).resize(shape) for picture, shape in zip(drawn, shapes, strict=True)]


def by_transformers(pictures: list[Image.Image], prompts: list[str]) -> np.ndarray:
    """CLIPModel's own logits over its own scale."""
    model, processor = CLIPModel.from_pretrained(STARTER).float().eval(), CLIPProcessor.from_pretrained(STARTER)
    with torch.inference_mode():
        output = model(**processor(images=pictures, text=prompts, padding=True, return_tensors="pt"))
        return (output.logits_per_image / model.logit_scale.exp()).numpy()


def test_cosines_are_those_of_transformers_own_model(encoder: ClipEncoder, pictures: list[Image.Image]) -> None:
    squares = [picture.resize((200, 200)) for picture in pictures]
    np.testing.assert_allclose(encoder.cosines(squares, PROMPTS), by_transformers(squares, PROMPTS), atol=2e-6)


@torch.inference_mode()
def test_a_picture_that_is_cut_differs_by_the_rounding_of_single_pixels_alone(
    encoder: ClipEncoder, loader: ModelLoader, pictures: list[Image.Image]
) -> None:
    """What a cosine makes of them depends on the weights, so the pixels themselves are compared, and the cosines of the same pixels."""
    with loader.use("starter-clip", clip.TASK) as lease:
        preparation = lease.pipeline.preprocessor
    mine = preparation.to_tensor([preparation.preprocess(picture) for picture in pictures])
    model, processor = CLIPModel.from_pretrained(STARTER).float().eval(), CLIPProcessor.from_pretrained(STARTER)
    inputs = processor(images=pictures, text=PROMPTS, padding=True, return_tensors="pt")
    levels = (mine - inputs["pixel_values"]).abs() / preparation.scale
    assert levels.max() < 2.01
    assert (levels > 0.01).float().mean() < 0.002
    output = model(**{**inputs, "pixel_values": mine})
    expected = (output.logits_per_image / model.logit_scale.exp()).numpy()
    np.testing.assert_allclose(encoder.cosines(pictures, PROMPTS), expected, atol=2e-6)


def test_half_precision_moves_a_cosine_by_less_than_a_hundredth(tmp_path: Path, pictures: list[Image.Image]) -> None:
    encoder = ClipEncoder(make_loader(tmp_path, torch.bfloat16), "starter-clip")
    np.testing.assert_allclose(encoder.cosines(pictures, PROMPTS), by_transformers(pictures, PROMPTS), atol=0.01)


def test_a_pair_scores_what_it_scores_in_the_matrix(encoder: ClipEncoder, pictures: list[Image.Image]) -> None:
    pairs = [score.cosine for score in encoder.score(pictures, PROMPTS)]
    np.testing.assert_allclose(pairs, np.diag(encoder.cosines(pictures, PROMPTS)), atol=1e-6)


def test_equal_prompts_are_scored_in_their_places(encoder: ClipEncoder, pictures: list[Image.Image]) -> None:
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[1]]
    expected = encoder.cosines(pictures, PROMPTS[:2])[[0, 1, 2, 3], [0, 1, 0, 1]]
    np.testing.assert_allclose([score.cosine for score in encoder.score(pictures, prompts)], expected, atol=1e-6)


def test_more_pictures_than_a_batch_keep_their_order(
    encoder: ClipEncoder, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = encoder.embed_images(pictures)
    monkeypatch.setattr(clip, "MOST_PICTURES", 3)
    np.testing.assert_allclose(encoder.embed_images(pictures), at_once, atol=1e-6)


def test_embeddings_have_length_one_and_raw_features_have_not(encoder: ClipEncoder, pictures: list[Image.Image]) -> None:
    raw = encoder.raw_image_features(pictures)
    lengths = np.linalg.norm(raw, axis=1)
    np.testing.assert_allclose(np.linalg.norm(encoder.embed_images(pictures), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(raw / lengths[:, None], encoder.embed_images(pictures), atol=1e-6)
    assert abs(lengths - 1).min() > 0.1
    assert raw.dtype == np.float32


def test_a_prompt_longer_than_the_context_is_cut_and_says_so(encoder: ClipEncoder) -> None:
    long = "a lake " * 100
    assert encoder.truncated(["a lake", long]) == [False, True]
    np.testing.assert_allclose(encoder.embed_texts([long]), encoder.embed_texts([long + "and a pizza"]), atol=1e-6)


def test_a_mark_in_a_prompt_does_not_end_it(encoder: ClipEncoder) -> None:
    ended, plain = encoder.embed_texts(["a lake <|endoftext|> with a boat at night", "a lake"])
    assert ended @ plain < 0.99


def test_a_scorers_own_sentences_are_encoded_once_while_the_model_is_loaded(
    loader: ModelLoader, encoder: ClipEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_allclose(encoder.embed_fixed(PROMPTS), encoder.embed_texts(PROMPTS), atol=1e-6)
    monkeypatch.setattr(clip, "_encode_texts", None)
    again = ClipEncoder(loader, "starter-clip").embed_fixed(PROMPTS[::-1])
    monkeypatch.undo()
    np.testing.assert_allclose(again, encoder.embed_texts(PROMPTS[::-1]), atol=1e-6)


def test_nothing_gives_nothing(encoder: ClipEncoder) -> None:
    assert encoder.embed_images([]).shape == (0, 192)
    assert encoder.score([], []) == []


def test_the_four_figures_are_told_together() -> None:
    assert PromptScore(0.3123456789, "starter-clip").as_dict() == {
        "clip_cosine": 0.312346,
        "clip_model": "starter-clip",
        "clip_score": 31.2346,
        "clip_score_hessel": 78.0865,
    }


def test_the_scale_is_torchmetrics_own(encoder: ClipEncoder) -> None:
    rng = np.random.default_rng(4)
    facts = [world.sample(rng) for _ in range(3)]
    drawn = [np.asarray(world.render(picture, seed)) for seed, picture in enumerate(facts)]
    strange = ["a pizza with olives", "three green stars", "a city at night", "a pink background with dots", "a blue cup"]
    pairs = [(i, world.describe_fully(facts[i], rng)) for i in range(3)] + [(i, prompt) for i in range(3) for prompt in strange]
    scores = encoder.score([Image.fromarray(drawn[i]) for i, _ in pairs], [prompt for _, prompt in pairs])
    ours = [score.as_dict()["clip_score"] for score in scores]
    tensors = [torch.from_numpy(one.copy()).permute(2, 0, 1) for one in drawn]
    theirs = [clip_score(tensors[i], prompt, reference).item() for i, prompt in pairs]
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert min(ours) == 0 < max(ours)


class AsInTransformers4(CLIPModel):
    """torchmetrics 1.9 expects the vectors themselves, which transformers 5 puts into an object."""

    def get_image_features(self, *values: torch.Tensor) -> torch.Tensor:
        return super().get_image_features(*values).pooler_output

    def get_text_features(self, *values: torch.Tensor) -> torch.Tensor:
        return super().get_text_features(*values).pooler_output


def reference() -> tuple[CLIPModel, CLIPProcessor]:
    return AsInTransformers4.from_pretrained(STARTER).float().eval(), CLIPProcessor.from_pretrained(STARTER)


def test_a_negative_cosine_is_told_as_it_is_and_scores_nothing() -> None:
    told = PromptScore(-0.25, "starter-clip").as_dict()
    assert (told["clip_cosine"], told["clip_score"], told["clip_score_hessel"]) == (-0.25, 0.0, 0.0)


def test_the_picture_of_a_prompt_scores_above_another(encoder: ClipEncoder) -> None:
    rng = np.random.default_rng(11)
    facts = [world.sample(rng) for _ in range(12)]
    drawn = [Image.fromarray(np.asarray(world.render(picture, seed))) for seed, picture in enumerate(facts)]
    cosines = encoder.cosines(drawn, [world.describe_fully(picture, rng) for picture in facts])
    assert np.diag(cosines).mean() > cosines.mean() + 0.2
