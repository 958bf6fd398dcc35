"""A hundred choices by a person with a hidden taste, over real embeddings and measures. benchmarks/custom_scorer.py is the full form."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api import model_loader
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.files.decoding import encode_png
from api.files.services import store_upload
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.scoring.backends.clip import ClipEncoder
from api.scoring.backends.custom import values_of
from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Layout
from api.scoring.backends.taste import Floats, Judgements, Scaling
from api.scoring.backends.taste_evaluation import Learned, learn
from api.scoring.models import CustomScorer, PictureFeatures
from api.scoring.taste.judgements import compare
from config.catalog import get_catalog
from tests.scoring.conftest import ASYNC, encoded
from tests.scoring.people import draw_pictures, hidden_utility, prefers_first

pytestmark = pytest.mark.models
JUDGED, NEW, PEOPLE = 200, 200, 16
PAIRS = np.arange(JUDGED).reshape(-1, 2)
NEW_PAIRS = np.arange(JUDGED, JUDGED + NEW).reshape(-1, 2)


class Seen:
    """Pictures with their features, scaled by those that are judged alone."""

    def __init__(self, pictures: list[Image.Image], encoder: ClipEncoder) -> None:
        self.embeddings = encoder.embed_images(pictures).astype(float)
        self.measures = [values_of(HeuristicScorer().score(picture, [Layout()])[0].measures) for picture in pictures]
        scaling = Scaling.of(self.measures[:JUDGED], list(self.embeddings[:JUDGED]))
        self.features = np.stack([scaling(*one) for one in zip(self.measures, self.embeddings, strict=True)])

    def learn(self, outcomes: Floats) -> Learned:
        none = np.zeros(0, dtype=np.int64)
        return learn(self.features[:JUDGED], Judgements(none, none.astype(float), PAIRS, outcomes))

    def agreement(self, learned: Learned, utility: Floats) -> float:
        guessed = self.features @ learned.weights
        rng = np.random.default_rng(0)
        return float((prefers_first(guessed, NEW_PAIRS, rng) == prefers_first(utility, NEW_PAIRS, rng)).mean())


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return model_loader.ModelLoader(get_catalog(), ModelStore(tmp_path_factory.mktemp("models")), probe_device("cpu"))


@pytest.fixture(scope="module")
def seen(loader: Any) -> Seen:
    return Seen(draw_pictures(JUDGED + NEW), ClipEncoder(loader, "starter-clip"))


def test_a_hundred_choices_teach_a_taste_that_agrees_in_four_of_five_new_pairs(seen: Seen) -> None:
    agreements = []
    for person in range(PEOPLE):
        rng = np.random.default_rng(person)
        utility = hidden_utility(seen.measures, seen.embeddings, rng)
        learned = seen.learn(prefers_first(utility, PAIRS, rng))
        assert learned.learned
        agreements.append(seen.agreement(learned, utility))
    assert np.mean(agreements) >= 0.8


def test_shuffled_choices_teach_nothing_and_it_says_so(seen: Seen) -> None:
    found, agreements = [], []
    for person in range(PEOPLE):
        rng = np.random.default_rng(person)
        utility = hidden_utility(seen.measures, seen.embeddings, rng)
        learned = seen.learn(rng.permutation(prefers_first(utility, PAIRS, rng)))
        assert not learned.learned
        found.append(learned.accuracy.value)
        agreements.append(seen.agreement(learned, utility))
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)
    assert np.mean(agreements) == pytest.approx(0.5, abs=0.2)


@pytest.mark.django_db(transaction=True)
def test_from_choices_to_a_verdict_with_the_embedding_in_it(
    loader: Any, client: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedding decides here: lakes are preferred to pizzas, which the measures hardly tell apart."""
    monkeypatch.setattr(model_loader, "_loader", loader)
    from api.starter import world
    from api.starter.world.food import sample_food
    from api.starter.world.scene import sample_scene

    def draw(sample: Any, seed: int) -> Image.Image:
        return Image.fromarray(world.render(sample(np.random.default_rng(seed)), seed))

    for seed in range(24):
        scene, food = (
            store_upload(owner_key="local", data=encode_png(draw(sample, seed))) for sample in (sample_scene, sample_food)
        )
        compare(owner_key="local", first=scene, second=food, preferred=scene)
    client.post("/api/scorers/", {"name": "outdoors"}, content_type="application/json", headers=ASYNC)
    images = [encoded(draw(sample, 99)) for sample in (sample_scene, sample_food)]
    for image in images:
        client.post("/api/score/", {"image": image, "backend": "heuristic"}, content_type="application/json", headers=ASYNC)
    loop = WorkerLoop()
    while loop.run_once():
        pass
    trained = Job.objects.get(kind="train_scorer")
    assert trained.status == "succeeded", trained.error
    assert trained.result["encoder"] == "starter-clip"
    assert trained.result["learned"] is True
    assert len(bytes(PictureFeatures.objects.first().embedding)) == 192 * 4

    def judge(image: str) -> Job:
        body = {"image": image, "backend": "custom:outdoors"}
        client.post("/api/score/", body, content_type="application/json", headers=ASYNC)
        while loop.run_once():
            pass
        return Job.objects.filter(model_id="custom:outdoors@1").latest("pk")

    judged = [judge(image) for image in images]
    assert [job.warnings for job in judged] == [[], []]
    scene, food = (job.result or {} for job in judged)
    assert scene["aesthetic_score"] > 60 > 40 > food["aesthetic_score"]
    assert any(sentence.startswith("What it shows, as starter-clip sees it, raises") for sentence in scene["reasoning"])
    row = CustomScorer.objects.get()
    version = loader.store.version(get_catalog().get("starter-clip"))
    assert row.taste["extractor"].endswith(f" starter-clip {version}")
    assert set(PictureFeatures.objects.values_list("extractor", flat=True)) == {
        row.taste["extractor"]
    }  # and none of others is read
    row.taste["extractor"] = row.taste["extractor"].replace(version, "0" * 12)  # it was trained before the weights were renewed
    row.save()
    [warning] = judge(images[0]).warnings
    assert warning.endswith(f"starter-clip {'0' * 12} took them, which is no longer so: train it again.")
