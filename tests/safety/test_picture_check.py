"""The check of finished pictures: what is withheld is no file, is sent to nobody, and the job says so."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image

from api.access.services import create_key
from api.catalog import ModelEntry
from api.files.models import StoredFile
from api.files.services import open_image
from api.images.hooks import RunHooks
from api.images.models import GeneratedImage
from api.images.session import JobHooks
from api.jobs.models import Job, JobEvent
from api.loading.classifiers import build_classifier as load_classifier
from api.model_loader import ModelLoader
from api.safety.backends.classify import classify, parts_of, run_classifier, square
from api.safety.checks import picture_check_messages
from api.safety.models import KeyChecks
from api.safety.pictures.policy import PicturePolicy, policy_of
from tests.api.bodies import png
from tests.safety.tiny_classifiers import TYPES, build_classifier
from tests.vision.conftest import ASYNC, work

pytestmark = pytest.mark.models
DATABASE = pytest.mark.django_db(transaction=True)
Run = Callable[..., Job]


def silent(fraction: float, text: str) -> None:
    return


def colours(count: int, size: tuple[int, int] = (64, 64)) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)) for _ in range(count)]


def score_of(loader: ModelLoader, image: dict[str, Any]) -> float:
    picture = open_image(StoredFile.objects.get(pk=image["id"]))
    return classify(loader, "tiny-check", [picture], silent)[0]["nsfw"]


def media_files(settings: Any) -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


# ---------------------------------------------------------------- the classifier


@pytest.mark.parametrize("model_type", TYPES)
def test_each_kind_of_classifier_gives_what_transformers_own_call_gives(model_type: str, tmp_path: Path) -> None:
    folder = build_classifier(tmp_path, model_type)
    classifier = load_classifier(ModelEntry(id="x", name="x", task="image-classification", path=folder), folder, None)  # type: ignore[arg-type]
    pictures = colours(3)
    rows = run_classifier(classifier, pictures, 2, "cpu")
    with torch.inference_mode():
        inputs = classifier.processor(images=pictures, return_tensors="pt")
        expected = classifier.model(**inputs).logits.softmax(-1)
    assert np.allclose(rows, expected.numpy(), atol=1e-5)
    assert np.allclose(np.sum(rows, axis=1), 1, atol=1e-5)


def test_classes_that_do_not_exclude_each_other_have_probabilities_of_their_own(tmp_path: Path) -> None:
    folder = build_classifier(tmp_path, labels=("a", "b", "c"), problem_type="multi_label_classification")
    classifier = load_classifier(ModelEntry(id="x", name="x", task="image-classification", path=folder), folder, None)  # type: ignore[arg-type]
    with torch.inference_mode():
        logits = classifier.model(**classifier.processor(images=colours(1), return_tensors="pt")).logits
    assert np.allclose(run_classifier(classifier, colours(1), 1, "cpu"), logits.sigmoid().numpy(), atol=1e-5)


def test_a_very_long_picture_is_read_in_parts_that_leave_nothing_out() -> None:
    long = Image.fromarray(np.arange(64 * 1000 * 3, dtype=np.uint32).reshape(64, 1000, 3).astype(np.uint8))
    parts = list(parts_of(long))
    assert {part.size for part in parts} == {(64, 64)}
    assert len(parts) == 16
    assert parts[-1].tobytes() == long.crop((936, 0, 1000, 64)).tobytes()
    assert len(list(parts_of(long.resize((256, 64))))) == 1
    assert square(long.resize((256, 64))).size == (64, 64)


def test_what_is_transparent_is_white() -> None:
    [part] = parts_of(Image.new("RGBA", (8, 8), (10, 20, 30, 0)))
    assert (part.mode, part.getpixel((0, 0))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize(("labels", "found"), [(("nsfw",), ("NSFW", 0.3)), (("porn", "hentai"), ("hentai", 0.4))])
def test_the_most_probable_of_the_labels_decides(labels: tuple[str, ...], found: tuple[str, float]) -> None:
    probabilities = {"neutral": 0.1, "NSFW": 0.3, "porn": 0.2, "hentai": 0.4}
    assert PicturePolicy("x", labels, 0.5).score(probabilities) == found


# ---------------------------------------------------------------- jobs


@DATABASE
def test_off_by_default_a_job_says_nothing_and_asks_no_model(run: Run, loader: ModelLoader) -> None:
    job = run(prompt="a lake")
    assert "picture_check" not in job.result  # type: ignore[operator]
    assert "check" not in job.timings
    assert [model["id"] for model in loader.loaded()] == ["tiny"]


@DATABASE
@pytest.mark.parametrize("deterministic", [False, True])  # in a session, and as a batch
def test_of_several_pictures_those_above_the_threshold_are_withheld(
    run: Run, loader: ModelLoader, settings: Any, deterministic: bool, client: Client
) -> None:
    request = {"prompt": "a lake", "seed": 1, "num_images": 4, "deterministic": deterministic}
    free = run(**request).result["images"]  # type: ignore[index]
    scores = [score_of(loader, image) for image in free]
    ordered = sorted(scores)
    settings.PICTURE_CHECK, settings.PICTURE_CHECK_THRESHOLD = True, (ordered[1] + ordered[2]) / 2
    before = len(media_files(settings))
    job = run(**request)
    withheld = [place for place, score in enumerate(scores) if score > ordered[1]]
    check = job.result["picture_check"]  # type: ignore[index]
    assert (check["model_id"], check["labels"]) == ("tiny-check", ["nsfw"])
    assert [(one["index"], one["seed"], one["label"]) for one in check["withheld"]] == [(n, 1 + n, "nsfw") for n in withheld]
    assert [image["seed"] for image in job.result["images"]] == [1 + n for n in range(4) if n not in withheld]  # type: ignore[index]
    assert job.warnings == ["2 of 4 pictures withheld by this server's check of pictures; `picture_check` says which."]
    assert "check" in job.timings
    assert job.progress == {"fraction": 1.0, "step": 8, "steps": 8}
    assert len(media_files(settings)) - before == 2 * 2  # a picture and its thumbnail, of two
    assert GeneratedImage.objects.filter(job=job).count() == 2
    assert client.get(f"/api/jobs/{job.pk}/").json()["result"]["picture_check"] == check


@DATABASE
@pytest.mark.parametrize("more", [{}, {"deterministic": True}, {"num_images": 2}, {"best_of": 3, "rank_by": "aesthetic"}])
def test_a_job_of_which_no_picture_is_left_fails_and_leaves_no_file(run: Run, settings: Any, more: dict[str, Any]) -> None:
    settings.PICTURE_CHECK, settings.PICTURE_CHECK_THRESHOLD = True, 0.0
    job = run(prompt="a lake", seed=1, **more)
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "content_filtered", 400)  # type: ignore[index]
    assert "withheld by this server's check of pictures (nsfw, " in job.error["detail"]  # type: ignore[index]
    assert media_files(settings) == []
    assert not GeneratedImage.objects.exists()


@DATABASE
def test_edited_and_enlarged_pictures_are_checked_too(run: Run, settings: Any) -> None:
    first = run(prompt="a lake").result["images"][0]["id"]  # type: ignore[index]
    settings.PICTURE_CHECK, settings.PICTURE_CHECK_THRESHOLD = True, 0.0
    before = len(media_files(settings))
    jobs = [
        run("/api/img2img/", prompt="a lake", image=first, strength=0.5),
        run("/api/upscale/", image=first, model_id="lanczos"),
        run("/api/cutout/", image=first),
        run("/api/grids/", request={"prompt": "a lake"}, axes=[{"field": "seed", "values": [1, 2]}]),
    ]
    assert [job.error["code"] for job in jobs] == ["content_filtered"] * 4  # type: ignore[index]
    assert len(media_files(settings)) == before


@DATABASE
def test_of_candidates_the_next_best_takes_the_place_of_one_that_is_withheld(
    run: Run, loader: ModelLoader, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best candidate and the third are withheld, whatever the classifier would say of them."""
    request = {"prompt": "a lake", "seed": 1, "num_images": 2, "best_of": 5, "rank_by": "aesthetic"}
    candidates = run(**request).result["candidates"]  # type: ignore[index]
    ranked = [one["seed"] for one in sorted(candidates, key=lambda one: one["rank"])]
    free = {one["seed"]: one for one in run(**{**request, "num_images": 5}).result["images"]}  # type: ignore[index]
    bad = [open_image(StoredFile.objects.get(pk=free[ranked[place]]["id"])).tobytes() for place in (0, 2)]

    def found(loader: Any, model_id: str, pictures: Any, on_progress: Any) -> list[dict[str, float]]:
        return [{"nsfw": float(picture.tobytes() in bad)} for picture in pictures]

    monkeypatch.setattr("api.safety.backends.classify.classify", found)
    settings.PICTURE_CHECK = True
    job = run(**request)
    assert [image["seed"] for image in job.result["images"]] == [ranked[1], ranked[3]]  # type: ignore[index]
    assert [one["seed"] for one in job.result["picture_check"]["withheld"]] == [ranked[0], ranked[2]]  # type: ignore[index]
    assert job.warnings[-1].endswith("The next best candidates were taken in their places.")


@DATABASE
def test_maps_and_what_is_drawn_over_a_picture_are_checked(run: Run, settings: Any) -> None:
    """A map has nothing else; a verdict is told without its overlay."""
    settings.PICTURE_CHECK, settings.PICTURE_CHECK_THRESHOLD = True, 0.0
    page = base64.b64encode(png()).decode()
    assert run("/api/preprocess/", image=page, kind="grey").error["code"] == "content_filtered"  # type: ignore[index]
    judged = run("/api/score/", image=page)
    assert judged.status == "succeeded"
    assert "The overlay was withheld by this server's check of pictures" in " ".join(judged.warnings)
    assert not GeneratedImage.objects.exists()


@DATABASE
def test_what_passes_is_kept_as_without_the_check(run: Run, settings: Any) -> None:
    free = run(prompt="a lake", seed=5, deterministic=True).result["images"][0]["id"]  # type: ignore[index]
    settings.PICTURE_CHECK, settings.PICTURE_CHECK_THRESHOLD = True, 1.0
    job = run(prompt="a lake", seed=5, deterministic=True)
    assert job.result["picture_check"]["withheld"] == []  # type: ignore[index]
    pictures = [open_image(StoredFile.objects.get(pk=pk)).tobytes() for pk in (free, job.result["images"][0]["id"])]  # type: ignore[index]
    assert pictures[0] == pictures[1]


@DATABASE
def test_pictures_of_others_in_the_same_batch_are_not_touched(client: Client, loader: ModelLoader, settings: Any) -> None:
    settings.PICTURE_CHECK_THRESHOLD = 0.0
    (strict, token), (_, free_token) = (create_key(name=name) for name in ("strict", "free"))
    KeyChecks.objects.create(key=strict, check_pictures=True)
    ids = []
    for number, one in enumerate((free_token, token, free_token)):
        headers = {**ASYNC, "Authorization": f"Bearer {one}"}
        body = {"prompt": "a lake", "seed": number, "deterministic": False}
        ids.append(client.post("/api/txt2img/", body, content_type="application/json", headers=headers).json()["id"])
    work()
    assert [Job.objects.get(pk=pk).status for pk in ids] == ["succeeded", "failed", "succeeded"]


@DATABASE
def test_a_key_may_be_checked_or_not_and_have_a_threshold_of_its_own(settings: Any) -> None:
    key, _ = create_key(name="one")
    assert policy_of(key.prefix) is None
    own = KeyChecks.objects.create(key=key, check_pictures=True, threshold=0.9)
    policy = policy_of(key.prefix)
    assert policy is not None
    assert policy.threshold == 0.9
    assert policy_of("another") is None
    settings.PICTURE_CHECK = True
    assert policy_of("another") == PicturePolicy("tiny-check", ("nsfw",), 0.5) or settings.PICTURE_CHECK_MODEL != "tiny-check"
    own.check_pictures = False
    own.save()
    assert policy_of(key.prefix) is None


@DATABASE
def test_a_check_that_can_not_be_made_fails_the_job_and_keeps_no_picture(run: Run, settings: Any) -> None:
    settings.PICTURE_CHECK = True
    for change, said in (
        ({"PICTURE_CHECK_LABELS": ["gore"]}, "tiny-check has no class gore of PICTURE_CHECK_LABELS; it has normal, nsfw."),
        ({"PICTURE_CHECK_LABELS": ["normal", "nsfww"]}, "tiny-check has no class nsfww of PICTURE_CHECK_LABELS"),
        ({"PICTURE_CHECK_MODEL": "gone"}, ""),
    ):
        for name, value in change.items():
            setattr(settings, name, value)
        job = run(prompt="a lake")
        assert job.status == "failed"
        assert said in job.error["detail"]  # type: ignore[index]
        assert media_files(settings) == []


@DATABASE
def test_no_preview_of_what_is_not_checked_yet_is_shown(run: Run, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.images.backends.engine.progress.INTERVAL", 0.0)
    monkeypatch.setattr(
        "api.jobs.running.RunningJob.watched", property(lambda self: True, lambda self, value: None), raising=False
    )
    shown = run(prompt="a lake", steps=6)
    settings.PICTURE_CHECK, settings.PICTURE_CHECK_THRESHOLD = True, 1.0
    hidden = run(prompt="a lake", steps=6)
    assert hidden.status == "succeeded"
    assert not JobEvent.objects.filter(job=hidden, type="preview").exists()
    running = type("Run", (), {"watched": True, "owner_key": "local"})()
    assert not RunHooks([running]).wants_preview(0)
    assert not JobHooks.wants_preview(type("Hooks", (), {"run": running})())  # type: ignore[arg-type]
    settings.PICTURE_CHECK = False
    assert RunHooks([running]).wants_preview(0)
    assert shown.status == "succeeded"


@DATABASE
def test_where_nothing_is_checked_a_worker_asks_once_in_two_seconds() -> None:
    with CaptureQueriesContext(connection) as captured:
        for _ in range(100):
            assert policy_of("local") is None
    assert len(captured) <= 1


# ---------------------------------------------------------------- settings, the admin


def test_settings_that_check_nothing_stop_the_start(settings: Any) -> None:
    assert list(picture_check_messages()) == []
    settings.PICTURE_CHECK, settings.LOAD_MODELS, settings.PICTURE_CHECK_LABELS = True, False, []
    assert [message.id for message in picture_check_messages()] == ["darkroom.E066", "darkroom.E067"]


@DATABASE
def test_a_key_s_check_is_set_in_the_admin(admin_client: Client) -> None:
    key, _ = create_key(name="one")
    path, form = "/admin/safety/keychecks/add/", {"key": str(key.pk), "check_pictures": "on"}
    assert "less than or equal to 1" in admin_client.post(path, {**form, "threshold": "7"}).content.decode()
    assert admin_client.post(path, {**form, "threshold": "0.25"}).status_code == 302
    policy = policy_of(key.prefix)
    assert policy is not None
    assert policy.threshold == 0.25
    assert key.prefix in admin_client.get("/admin/safety/keychecks/").content.decode()


def test_a_picture_read_back_has_the_form_that_the_check_takes() -> None:
    """Grey pictures too, which some models make."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 100).save(buffer, "PNG")
    [part] = parts_of(Image.open(buffer))
    assert (part.mode, part.getpixel((0, 0))) == ("RGB", (100, 100, 100))
