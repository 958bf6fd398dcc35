"""Layouts judged by networks: in one pass, as published, with null and a sentence for what they can't judge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.test import Client
from django.urls import reverse
from PIL import Image

from api.errors import DarkroomError
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.loading.clip_preprocessing import scaled_size
from api.model_loader import ModelLoader
from api.scoring.backends import zero_shot
from api.scoring.backends.clip import ClipEncoder, normalized
from api.scoring.backends.laion import LaionScorer
from api.scoring.backends.layout import HEADLINES, Layout, NetworkScorer
from api.scoring.backends.learned import preferred
from api.scoring.backends.uiclip import MOST_WINDOWS, UIClipScorer, captions, cut_windows, window_places
from api.scoring.backends.zero_shot import PAIRS, ZeroShotScorer
from tests.models.tiny import LINEAR_PLACES, head_tensors
from tests.scoring.conftest import encoded, poster
from tests.scoring.learned import WIDTH

pytestmark = pytest.mark.models


def verdict(scorer: NetworkScorer, picture: Image.Image, layout: Layout | None = None) -> Any:
    return scorer.score_prepared([scorer.prepare(picture)], [[layout or Layout()]])[0][0]


# -- clip


def test_a_pair_is_the_softmax_of_a_hundred_times_its_cosines(loader: ModelLoader) -> None:
    encoder = ClipEncoder(loader, "tiny-clip")
    cosines = encoder.cosines([poster()], [PAIRS[0].good, PAIRS[0].poor])[0]
    expected = torch.softmax(100 * torch.tensor(cosines, dtype=torch.float64), 0)[0].item()
    found = verdict(ZeroShotScorer(loader, "tiny-clip"), poster()).measures[0]
    assert found.name == PAIRS[0].name
    assert found.score == pytest.approx(100 * expected, abs=1e-2)


def test_each_headline_is_the_mean_of_its_own_pairs(loader: ModelLoader) -> None:
    found = verdict(ZeroShotScorer(loader, "tiny-clip"), poster())
    for name in HEADLINES:
        own = [measure.score for measure in found.measures if measure.group == name]
        assert len(own) == 3
        assert found.scores[name] == pytest.approx(np.mean(own), abs=0.051)


def test_a_preference_never_overflows() -> None:
    assert preferred(np.float32([1, -1]), np.float32([-1, 1]), scale=1e9).tolist() == pytest.approx([1, 0])


def test_the_reasons_name_the_pairs_that_were_decided_the_worst_first(loader: ModelLoader) -> None:
    scorer = ZeroShotScorer(loader, "tiny-clip")
    cosines = np.zeros(2 * len(PAIRS), np.float32)
    cosines[[1, 3, 4]] = 0.02, 0.05, 0.03
    found = scorer.judge(cosines)
    assert found.reasoning[0].startswith(f"CLIP finds “{PAIRS[1].poor}” fits it better")
    assert found.reasoning[1].startswith(f"CLIP finds “{PAIRS[0].poor}” fits it better")
    assert found.reasoning[2].startswith(f"CLIP finds “{PAIRS[2].good}” fits it better")
    assert len(found.reasoning) == 3


def test_a_model_with_a_note_says_it_as_a_warning(loader: ModelLoader) -> None:
    assert "starter-clip: A small CLIP of our own" in verdict(ZeroShotScorer(loader, "starter-clip"), poster()).warnings[0]
    assert verdict(ZeroShotScorer(loader, "tiny-clip"), poster()).warnings == ()


# -- uiclip


@pytest.mark.parametrize(
    ("size", "places"),
    [
        ((224, 224), [(0, 0)]),
        ((358, 224), [(0, 0), (134, 0)]),
        ((224, 500), [(0, 0), (0, 138), (0, 276)]),
        ((225, 224), [(0, 0), (1, 0)]),
    ],
)
def test_windows_cover_the_longer_side(size: tuple[int, int], places: list[tuple[int, int]]) -> None:
    assert window_places(*size, 224) == places


def test_a_very_long_page_is_looked_at_in_a_bounded_number_of_places() -> None:
    windows = cut_windows(Image.new("RGB", (1, 20_000), "red"), 32)
    assert [window.size for window in windows] == [(32, 32)] * MOST_WINDOWS


def test_a_window_is_what_scaling_all_of_it_and_cutting_would_give() -> None:
    picture = poster(size=(1280, 800))
    whole = picture.resize(scaled_size(1280, 800, 224), Image.Resampling.BICUBIC)
    places = window_places(*whole.size, 224)
    for window, (left, top) in zip(cut_windows(picture, 224), places, strict=True):
        expected = np.asarray(whole.crop((left, top, left + 224, top + 224)), int)
        assert np.abs(np.asarray(window, int) - expected).max() <= 1


def test_a_page_is_the_mean_of_its_windows_before_they_are_normalised(loader: ModelLoader) -> None:
    scorer, page = UIClipScorer(loader, "uiclip"), poster(size=(640, 200))
    windows = scorer.encoder.raw_image_features(cut_windows(page, 32))
    assert len(windows) == 4
    expected = normalized(windows.mean(axis=0, keepdims=True))[0]
    texts = scorer.encoder.embed_texts(captions("Jazz night"))
    well = preferred(texts[:1] @ expected, texts[1:2] @ expected)[0]
    assert verdict(scorer, page, Layout(title="Jazz night")).scores["aesthetic_score"] == pytest.approx(100 * well, abs=0.2)


def test_uiclip_names_the_captions_of_its_training(loader: ModelLoader) -> None:
    assert captions("a form")[:3] == [
        "ui screenshot. well-designed. a form",
        "ui screenshot. poor design. a form",
        "ui screenshot. poor design. bad contrast. a form",
    ]


def test_a_fault_that_fits_better_than_well_designed_is_told(loader: ModelLoader) -> None:
    found = UIClipScorer(loader, "uiclip").judge(np.float32([0.2, 0.25, 0.1, 0.3, 0.1, 0.1]))
    assert found.reasoning[0].startswith("UIClip sees bad alignment")
    assert found.reasoning[1].startswith("UIClip takes it for poor design")
    assert not any("bad contrast" in reason for reason in found.reasoning)


def test_uiclip_has_one_score_and_says_so(loader: ModelLoader) -> None:
    found = verdict(UIClipScorer(loader, "uiclip"), poster())
    assert [found.scores[name] for name in HEADLINES[1:]] == [None, None, None]
    assert found.reasoning[-1] == "UIClip has no scores of their own for composition, colour harmony and balance."


def test_pages_of_different_shapes_share_a_pass_and_keep_their_own_windows(loader: ModelLoader) -> None:
    scorer = UIClipScorer(loader, "uiclip")
    pages = [poster(size=(640, 200)), poster(paper=(10, 10, 10), size=(300, 300)), poster(size=(200, 500))]
    together = scorer.score_prepared([scorer.prepare(page) for page in pages], [[Layout()]] * 3)
    alone = [verdict(scorer, page) for page in pages]
    scores = [[found.scores["aesthetic_score"] for found in row] for row in together]
    assert scores == [[pytest.approx(one.scores["aesthetic_score"], abs=0.3)] for one in alone]


# -- laion


def test_a_rating_is_the_heads_of_the_normalised_embedding(loader: ModelLoader) -> None:
    weights = head_tensors(LINEAR_PLACES, width=WIDTH)
    expected = torch.from_numpy(ClipEncoder(loader, "tiny-clip").embed_images([poster()]))
    for place in LINEAR_PLACES:
        expected = expected @ weights[f"layers.{place}.weight"].T + weights[f"layers.{place}.bias"]
    assert LaionScorer(loader, "tiny-head").ratings([poster()]) == pytest.approx([expected.item()], abs=1e-4)


@pytest.mark.parametrize(("rating", "score"), [(1.0, 0.0), (5.5, 50.0), (10.0, 100.0), (-3.0, 0.0), (12.0, 100.0)])
def test_a_rating_of_1_to_10_becomes_0_to_100(loader: ModelLoader, rating: float, score: float) -> None:
    found = LaionScorer(loader, "tiny-head").judge(rating)
    assert found.scores["aesthetic_score"] == score
    assert found.measures[0].value == rating


def test_a_head_on_a_clip_of_another_width_is_told(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError, match="wrong-head takes embeddings of 32, and starter-clip gives 192") as caught:
        LaionScorer(loader, "wrong-head").ratings([poster()])
    assert caught.value.code == "wrong_base"


def test_head_and_clip_are_both_told_as_loaded(loader: ModelLoader) -> None:
    LaionScorer(loader, "tiny-head").load(lambda fraction, text: None)
    assert {model["id"] for model in loader.loaded()} == {"tiny-head", "tiny-clip"}


# -- over HTTP


@pytest.mark.django_db(transaction=True)
def test_the_admin_shows_a_verdict_without_an_overlay(
    score: Callable[..., Job], loader: ModelLoader, admin_client: Client
) -> None:
    job = score({"image": encoded(poster()), "backend": "laion", "model_id": "tiny-head"})
    page = admin_client.get(reverse("admin:scoring_layoutscore_change", args=[job.result["id"]])).content.decode()
    assert "laion rating" in page
    assert "LAION&#x27;s predictor rates it" in page
    assert f"/api/images/{job.params['image']}/" in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("backend", "model"), [("clip", "tiny-clip"), ("uiclip", "uiclip"), ("laion", "tiny-head")])
def test_a_score_says_by_whom_it_was_given(score: Callable[..., Job], loader: ModelLoader, backend: str, model: str) -> None:
    result = score({"image": encoded(poster()), "backend": backend, "model_id": model}).result
    assert (result["backend"], result["model"], result["device"]) == (backend, model, "cpu")
    assert 0 <= result["aesthetic_score"] <= 100
    assert result["duration"] > 0
    assert result["measures"]
    assert result["scored"] == ["image"]
    assert result["overlay"] is None


@pytest.mark.django_db(transaction=True)
def test_without_a_model_the_default_of_the_backend_judges(score: Callable[..., Job], loader: ModelLoader) -> None:
    job = score({"image": encoded(poster()), "backend": "clip"})
    assert job.model_id == job.params["model_id"] == job.result["model"] == "starter-clip"
    assert job.warnings


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("backend", "model", "unread"),
    [("clip", "tiny-clip", "variant, event_data, deep"), ("uiclip", "uiclip", "variant, deep")],
)
def test_what_was_sent_and_did_not_count_is_told(
    score: Callable[..., Job], loader: ModelLoader, backend: str, model: str, unread: str
) -> None:
    sent = {"variant": {"font": "text-4xl"}, "event_data": {"title": "Jazz"}, "deep": True}
    job = score({"image": encoded(poster()), "backend": backend, "model_id": model, **sent})
    assert job.warnings == [f"The backend '{backend}' looks at the picture: {unread} did not count."]


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_one_pass_and_equal_pictures_are_seen_once(
    score: Callable[..., Job], loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    monkeypatch.setattr(zero_shot.ClipEncoder, "features_of", counting(zero_shot.ClipEncoder.features_of, passes))
    pictures = [encoded(poster()), encoded(poster(paper=(0, 0, 0))), encoded(poster(ink=(255, 0, 0)))]
    items = [{"image": picture} for picture in (*pictures, pictures[0])]
    scores = score({"items": items, "backend": "clip", "model_id": "tiny-clip"}, "/api/score/batch/").result["scores"]
    assert len(scores) == 4
    assert sum(passes) <= 4
    assert len(passes) == 1
    assert scores[0]["measures"] == scores[3]["measures"] != scores[1]["measures"]


@pytest.mark.django_db(transaction=True)
def test_single_requests_of_one_claim_share_a_pass(
    post: Callable[..., Any], media: Path, loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    monkeypatch.setattr(zero_shot.ClipEncoder, "features_of", counting(zero_shot.ClipEncoder.features_of, passes))
    for number in range(3):
        picture = encoded(poster(paper=(250, 250, 200 + number)))
        assert post({"image": picture, "backend": "clip", "model_id": "tiny-clip"}).status_code == 202
    assert WorkerLoop().run_once()
    assert passes == [3]
    assert [job.status for job in Job.objects.all()] == ["succeeded"] * 3


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_picture_is_gone_fails_alone(post: Callable[..., Any], media: Path, loader: ModelLoader) -> None:
    ids = [
        post({"image": encoded(poster(paper=(9, 9, number))), "backend": "clip", "model_id": "tiny-clip"}).json()["id"]
        for number in range(3)
    ]
    lost = Job.objects.get(pk=ids[1]).params["image"]
    for file in list(media.rglob(f"{lost}*")):
        file.unlink()
    assert WorkerLoop().run_once()
    assert [Job.objects.get(pk=one).status for one in ids] == ["succeeded", "failed", "succeeded"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("model", "code"), [("head-alone", "no_base"), ("wrong-head", "wrong_base")])
def test_a_head_that_is_offered_wrongly_is_the_jobs_error(
    post: Callable[..., Any], media: Path, loader: ModelLoader, model: str, code: str
) -> None:
    job = post({"image": encoded(poster()), "backend": "laion", "model_id": model}).json()["id"]
    WorkerLoop().run_once()
    assert Job.objects.get(pk=job).error["code"] == code


def counting(real: Callable[..., Any], passes: list[int]) -> Callable[..., Any]:
    """The real method, whose calls' sizes are kept."""

    def count(self: Any, looks: Any) -> Any:
        passes.append(len(looks))
        return real(self, looks)

    return count


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"backend": "clap"}, "backend", "Did you mean 'clip'"),
        ({"backend": "clip:x"}, "backend", "There is no backend 'clip:x'"),
        ({"backend": "clip", "model_id": "tiny-clop"}, "model_id", "tiny-clip"),
        ({"backend": "clip", "model_id": "starter"}, "model_id", "'starter' is not for the backend 'clip'"),
        ({"backend": "uiclip", "model_id": "tiny-clip"}, "model_id", "For it: uiclip"),
        ({"backend": "heuristic", "model_id": "tiny-clip"}, "model_id", "The backend 'heuristic' uses no model"),
        ({"model_id": "tiny-clip"}, "model_id", "The backend 'heuristic' uses no model"),
    ],
)
def test_a_backend_or_model_that_does_not_fit_is_named(
    post: Callable[..., Any], media: Path, loader: ModelLoader, body: dict[str, Any], field: str, said: str
) -> None:
    reply = post({"image": encoded(poster()), **body})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == field
    assert said in reply.json()["errors"][0]["detail"]


@pytest.mark.django_db(transaction=True)
def test_a_network_needs_a_picture(post: Callable[..., Any], loader: ModelLoader) -> None:
    title = {"event_data": {"title": "Jazz"}}
    reply = post({**title, "backend": "clip"})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "image")
    reply = post({"items": [title], "backend": "clip"}, "/api/score/batch/")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "items.0.image")
