"""From judgements to a scorer that judges: the job, its row, its versions, and what is refused. On measures alone: no model is loaded."""

import random
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from PIL import Image, ImageDraw

from api.access.services import create_key
from api.files import storage
from api.files.models import StoredFile
from api.files.services import store_upload
from api.jobs.identifiers import uuid7
from api.jobs.models import Job
from api.jobs.worker import supervisor
from api.jobs.worker.loop import WorkerLoop
from api.scoring.models import CustomScorer, LayoutScore, PictureFeatures, Rating
from api.scoring.taste.judgements import compare
from tests.rows import PARAMS, make_job
from tests.scoring.conftest import ASYNC, encoded
from tests.scoring.test_score_api import EVENT, VARIANT

pytestmark = pytest.mark.django_db(transaction=True)
SCORERS = "/api/scorers/"


@pytest.fixture(autouse=True)
def _on_measures_alone(settings: Any, media: Any) -> None:
    settings.LOAD_MODELS = False


def picture(rng: random.Random) -> tuple[Image.Image, float]:
    """Squares on a ground, and how much colour was asked for, from 0 to 1."""
    colour = rng.random()
    image = Image.new("RGB", (96, 96), (rng.randint(20, 230),) * 3)
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, grey = rng.randint(0, 76), rng.randint(0, 76), rng.randint(60, 200)
        paint = tuple(round(grey + colour * (rng.choice((0, 255)) - grey)) for _ in range(3))
        draw.rectangle((x, y, x + 20, y + 20), fill=paint)
    return image, colour


def store(image: Image.Image) -> StoredFile:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return store_upload(owner_key="local", data=buffer.getvalue())


def measured_colour(file: StoredFile) -> float:
    from api.files.services import open_image
    from api.scoring.backends.heuristic import HeuristicScorer
    from api.scoring.backends.layout import Layout

    measures = HeuristicScorer().score(open_image(file), [Layout()])[0].measures
    return next(measure.value for measure in measures if measure.name == "colorfulness")


@pytest.fixture
def pictures() -> list[StoredFile]:
    rng = random.Random(3)
    return [store(picture(rng)[0]) for _ in range(100)]


@pytest.fixture
def likes_colour(pictures: list[StoredFile]) -> list[StoredFile]:
    """Fifty choices by somebody who prefers what is more colourful."""
    for first, second in zip(pictures[::2], pictures[1::2], strict=True):
        preferred = max(first, second, key=measured_colour)
        compare(owner_key="local", first=first, second=second, preferred=preferred)
    return pictures


@pytest.fixture
def train(client: Client) -> Callable[..., Job]:
    def run(**body: Any) -> Job:
        reply = client.post(SCORERS, {"name": "mine", **body}, content_type="application/json", headers=ASYNC)
        assert reply.status_code == 202, reply.content
        WorkerLoop().run_once()
        return Job.objects.get(pk=reply.json()["id"])

    return run


def refusal(client: Client, **body: Any) -> dict[str, Any]:
    reply = client.post(SCORERS, {"name": "mine", **body}, content_type="application/json", headers=ASYNC)
    assert reply.status_code == 400
    return reply.json()["errors"][0]


# ---------------------------------------------------------------- training


def test_choices_become_a_scorer_that_learned(likes_colour: Any, train: Callable[..., Job]) -> None:
    job = train()
    assert job.status == "succeeded", job.error
    result = job.result
    assert (result["name"], result["version"], result["backend"]) == ("mine", 1, "custom:mine@1")
    assert (result["ratings"], result["comparisons"], result["raters"]) == (0, 50, ["local"])
    assert result["learned"] is True
    assert result["pair_accuracy"]["low"] > 0.5
    assert result["pair_accuracy"]["count"] == 50
    assert result["rank_correlation"]["value"] is None
    assert result["weights"]["colorfulness"] > 0
    assert result["learning_curve"][-1]["pair_accuracy"] == result["pair_accuracy"]
    assert result["summary"].startswith("Learned from 50 comparisons: ")
    assert {"look", "fit"} <= job.timings.keys()


def test_stars_become_a_scorer_with_a_rank_correlation(pictures: list[StoredFile], train: Callable[..., Job]) -> None:
    order = sorted(pictures, key=measured_colour)
    for place, file in enumerate(order):
        file.ratings.give(owner_key="local", stars=1 + place * 5 // len(order))
    result = train().result
    assert (result["ratings"], result["comparisons"]) == (100, 0)
    assert result["rank_correlation"]["value"] > 0.6
    assert result["learned"] is True


def test_choices_at_random_teach_nothing_and_that_is_said(pictures: list[StoredFile], train: Callable[..., Job]) -> None:
    rng = random.Random(1)
    for first, second in zip(pictures[::2], pictures[1::2], strict=True):
        compare(owner_key="local", first=first, second=second, preferred=rng.choice((first, second)))
    job = train()
    result = job.result
    assert result["learned"] is False
    assert job.warnings[-1] == result["summary"]
    assert result["pair_accuracy"]["low"] < 0.5
    assert result["summary"].startswith("Nothing was learned from 50 comparisons: ")


def test_training_again_makes_a_new_version_and_looks_at_no_picture_twice(likes_colour: Any, train: Callable[..., Job]) -> None:
    train()
    kept = set(PictureFeatures.objects.values_list("pk", flat=True))
    assert len(kept) == 100
    assert train().result["version"] == 2
    assert set(PictureFeatures.objects.values_list("pk", flat=True)) == kept


def test_a_picture_whose_file_is_gone_is_left_out_with_a_warning(
    likes_colour: list[StoredFile], train: Callable[..., Job]
) -> None:
    storage.remove_file(likes_colour[0].name)
    job = train()
    assert job.status == "succeeded"
    assert any(warning.startswith("1 picture could not be looked at") for warning in job.warnings)


def test_only_the_raters_that_are_named_are_learned_from(likes_colour: list[StoredFile], train: Callable[..., Job]) -> None:
    likes_colour[0].ratings.give(owner_key="user:7", stars=1)
    assert train().result["raters"] == ["local", "user:7"]
    assert train(raters=["local"]).result["raters"] == ["local"]


def test_layouts_have_a_taste_of_their_own(train: Callable[..., Job], score: Any) -> None:
    job = make_job(kind="layout_score")
    for place in range(24):
        layout = LayoutScore.objects.create(
            job=job, index=place, owner_key="local", backend="heuristic", model="m", device="cpu", duration=0.1,
            measures={"gradient_contrast": {"value": 1 + place / 2, "score": 1, "band": "low"}},
        )  # fmt: skip
        layout.ratings.give(owner_key="local", stars=1 + place * 5 // 24)
    result = train(on="layouts").result
    assert (result["on"], result["learned"], list(result["weights"])) == ("layouts", True, ["gradient_contrast"])
    judged = score({"variant": VARIANT, "event_data": EVENT, "backend": "custom:mine"}).result
    assert 0 < judged["aesthetic_score"] < 100


def test_a_cancelled_training_ends_cancelled(likes_colour: Any, client: Client) -> None:
    job_id = client.post(SCORERS, {"name": "mine"}, content_type="application/json", headers=ASYNC).json()["id"]
    client.post(f"/api/jobs/{job_id}/cancel/")
    WorkerLoop().run_once()
    assert Job.objects.get(pk=job_id).status == "cancelled"
    assert CustomScorer.objects.count() == 0


# ---------------------------------------------------------------- what is refused


def test_too_few_judgements_are_refused_with_the_numbers(pictures: list[StoredFile], client: Client) -> None:
    for file in pictures[:5]:
        file.ratings.give(owner_key="local", stars=3)
    compare(owner_key="local", first=pictures[0], second=pictures[1], preferred=pictures[0])
    compare(owner_key="local", first=pictures[2], second=pictures[3], preferred=None)
    error = refusal(client)
    assert (error["field"], error["code"]) == ("on", "too_few")
    assert error["detail"] == (
        "There are too few to learn from: 5 ratings and 1 comparison of images (and 1 tie, which prefer nothing); "
        "20 are needed, so 14 more."
    )


def test_judgements_of_images_are_not_counted_for_layouts(likes_colour: Any, client: Client) -> None:
    assert "0 ratings and 0 comparisons of layouts" in refusal(client, on="layouts")["detail"]


def test_stars_that_are_all_the_same_are_refused(pictures: list[StoredFile], client: Client) -> None:
    for file in pictures[:20]:
        file.ratings.give(owner_key="local", stars=4)
    assert "All 20 ratings are the same" in refusal(client)["detail"]


def test_judgements_that_were_taken_back_meanwhile_fail_the_job_with_the_numbers(likes_colour: Any, client: Client) -> None:
    job_id = client.post(SCORERS, {"name": "mine"}, content_type="application/json", headers=ASYNC).json()["id"]
    likes_colour[0].comparisons_a.all().delete()
    StoredFile.objects.filter(pk__in=[file.pk for file in likes_colour[:80]]).delete()
    WorkerLoop().run_once()
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "too_few", 400)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "../x", "ä", "x" * 41, None, 7.5, ["a"], "a@2", "a:b"])
def test_a_name_is_a_slug(client: Client, name: Any) -> None:
    assert refusal(client, name=name)["field"] == "name"


@pytest.mark.parametrize(("field", "value"), [("on", "words"), ("raters", []), ("raters", "local"), ("nmae", "x")])
def test_anything_else_that_is_wrong_is_named(client: Client, field: str, value: Any) -> None:
    assert refusal(client, **{field: value})["field"] == field


def test_only_staff_trains_and_deletes_and_everybody_may_look(
    likes_colour: Any, train: Callable[..., Job], client: Client
) -> None:
    train()
    _, token = create_key(name="an application")
    headers = {"Authorization": f"Bearer {token}"}
    assert client.post(SCORERS, {"name": "x"}, content_type="application/json", headers=headers).status_code == 403
    assert client.delete(f"{SCORERS}mine/", headers=headers).status_code == 403
    assert client.get(f"{SCORERS}mine/", headers=headers).json()["version"] == 1
    assert len(client.get(SCORERS, headers=headers).json()["results"]) == 1


# ---------------------------------------------------------------- looking, deleting


@pytest.fixture(scope="module")
def learned() -> dict[str, Any]:
    """What the first training of this module learned, for those that follow: a training takes a second."""
    return {}


@pytest.fixture
def two_versions(learned: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if not learned:
        request.getfixturevalue("likes_colour")
        request.getfixturevalue("train")()
        learned.update(CustomScorer.objects.values().get())
    CustomScorer.objects.all().delete()
    CustomScorer.objects.bulk_create([CustomScorer(**learned | {"id": uuid7(), "job_id": None, "version": n}) for n in (1, 2)])


def test_scorers_are_listed_and_looked_at_by_name_and_version(two_versions: None, client: Client) -> None:
    assert [row["backend"] for row in client.get(SCORERS).json()["results"]] == ["custom:mine@2", "custom:mine@1"]
    newest, first = (client.get(f"{SCORERS}{name}/").json() for name in ("mine", "mine@1"))
    assert (newest["version"], newest["versions"], first["version"]) == (2, [2, 1], 1)
    assert newest["pair_accuracy"]["low"] > 0.5
    assert "taste" not in newest


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mien", "Did you mean 'mine'?"), ("mine@3", "Its versions: 1, 2."), ("a b", "Known: mine"), ("a%00b", "Known: mine")],
)
def test_an_unknown_scorer_is_not_found_with_the_nearest(two_versions: None, client: Client, name: str, hint: str) -> None:
    for method in (client.get, client.delete):
        reply = method(f"{SCORERS}{name}/")
        assert reply.status_code == 404
        assert hint in reply.json()["detail"]


def test_one_version_is_deleted_or_all(two_versions: None, client: Client) -> None:
    assert client.delete(f"{SCORERS}mine@1/").status_code == 204
    assert client.get(f"{SCORERS}mine/").json()["versions"] == [2]
    assert client.delete(f"{SCORERS}mine/").status_code == 204
    assert client.get(f"{SCORERS}mine/").status_code == 404


def test_a_scorer_that_a_queued_job_waits_for_is_not_deleted(two_versions: None, client: Client, post: Any) -> None:
    waiting = post({"image": encoded(Image.new("RGB", (32, 32), "teal")), "backend": "custom:mine"}).json()["id"]
    assert client.delete(f"{SCORERS}mine@1/").status_code == 204
    for name in ("mine", "mine@2"):
        reply = client.delete(f"{SCORERS}{name}/")
        assert (reply.status_code, reply.json()["code"]) == (409, "scorer_in_use")
        assert waiting in reply.json()["detail"]
    client.post(f"/api/jobs/{waiting}/cancel/")
    assert client.delete(f"{SCORERS}mine/").status_code == 204


@pytest.mark.parametrize("rank_by", ["custom:mine@2", {"clip": 0.5, "custom:mine@2": 0.5}])
def test_a_scorer_that_candidates_are_ranked_by_is_not_deleted(two_versions: None, client: Client, rank_by: Any) -> None:
    make_job("queued", params={**PARAMS, "best_of": 4, "rank_by": rank_by})
    assert client.delete(f"{SCORERS}mine/").json()["code"] == "scorer_in_use"
    assert client.delete(f"{SCORERS}mine@1/").status_code == 204


@pytest.mark.parametrize(
    ("changes", "reason"), [({"on": "layouts"}, "trained on layouts"), ({"encoder": "starter-clip"}, "LOAD_MODELS")]
)
def test_what_cant_rank_images_here_is_refused_as_rank_by(
    two_versions: None, client: Client, changes: Any, reason: str
) -> None:
    CustomScorer.objects.update(**changes)
    body = {"prompt": "a lake", "best_of": 2, "rank_by": "custom:mine"}
    reply = client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "rank_by")
    assert reason in reply.json()["errors"][0]["detail"]


# ---------------------------------------------------------------- judging with it


def colourful_and_grey() -> tuple[str, str]:
    rng = random.Random(77)
    images = sorted((picture(rng) for _ in range(30)), key=lambda made: made[1])
    return encoded(images[-1][0]), encoded(images[0][0])


def test_it_judges_as_it_was_taught_and_says_why(two_versions: None, score: Any) -> None:
    liked, disliked = (score({"image": image, "backend": "custom:mine"}).result for image in colourful_and_grey())
    assert liked["aesthetic_score"] > 60 > 40 > disliked["aesthetic_score"]
    assert (liked["backend"], liked["model"]) == ("custom:mine@2", "custom:mine@2")
    assert "it would be preferred to" in liked["reasoning"][0]
    assert any(sentence.startswith("A colorfulness of") and "above the usual" in sentence for sentence in liked["reasoning"])
    assert any(sentence.startswith("A colorfulness of") and "lowers" in sentence for sentence in disliked["reasoning"])
    assert "points by this taste" in liked["measures"]["colorfulness"]["note"]
    assert liked["overlay"]


def test_an_old_version_stays_usable(two_versions: None, score: Any) -> None:
    image, _ = colourful_and_grey()
    assert score({"image": image, "backend": "custom:mine@1"}).result["backend"] == "custom:mine@1"


def test_a_scorer_that_learned_nothing_warns_each_time(
    pictures: list[StoredFile], train: Callable[..., Job], score: Any
) -> None:
    rng = random.Random(1)
    for first, second in zip(pictures[::2], pictures[1::2], strict=True):
        compare(owner_key="local", first=first, second=second, preferred=rng.choice((first, second)))
    train()
    job = score({"image": encoded(picture(rng)[0]), "backend": "custom:mine"})
    assert any("Nothing was learned" in warning for warning in job.warnings)


def test_a_scorer_that_learned_from_other_measures_than_are_taken_now_says_so(two_versions: None, score: Any) -> None:
    row = CustomScorer.objects.get(version=2)
    row.taste["extractor"] = "heuristic-0"
    row.save()
    job = score({"image": encoded(Image.new("RGB", (64, 64), "teal")), "backend": "custom:mine"})
    assert job.warnings == [
        "custom:mine@2 learned from measures as heuristic-0 took them, which is no longer so: train it again."
    ]


def test_without_an_image_a_scorer_of_images_has_nothing_to_judge(two_versions: None, post: Any) -> None:
    job_id = post({"variant": VARIANT, "event_data": EVENT, "backend": "custom:mine"}).json()["id"]
    WorkerLoop().run_once()
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "image_required", 400)


@pytest.mark.parametrize(
    ("backend", "hint"),
    [("custom:mien", "'mine'"), ("custom:", "Known: mine"), ("custom:mine@9", "1, 2"), ("costum:mine", "'custom'")],
)
def test_an_unknown_scorer_as_a_backend_is_refused_with_the_nearest(
    two_versions: None, post: Any, backend: str, hint: str
) -> None:
    reply = post({"image": encoded(Image.new("RGB", (8, 8))), "backend": backend})
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "unknown_backend")
    assert hint in reply.json()["errors"][0]["detail"]


# ---------------------------------------------------------------- the command


def test_the_command_trains_and_prints_the_figures(likes_colour: Any) -> None:
    said = StringIO()
    call_command("train_scorer", "mine", stdout=said, stderr=StringIO())
    printed = said.getvalue()
    assert "Learned from 50 comparisons" in printed
    assert "Learning curve" in printed
    assert 'backend "custom:mine@1"' in printed


def test_the_command_starts_no_worker_process_beside_its_own_work(
    likes_colour: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOB_RUNNER = "embedded"
    monkeypatch.setattr(supervisor, "_started", None)
    call_command("train_scorer", "mine", stdout=StringIO(), stderr=StringIO())
    assert supervisor._started is None


def test_the_command_says_how_many_are_missing() -> None:
    with pytest.raises(CommandError, match=r"^There are too few to learn from: 0 ratings .* 20 are needed, so 20 more"):
        call_command("train_scorer", "mine")
    assert Rating.objects.count() == Job.objects.count() == 0
