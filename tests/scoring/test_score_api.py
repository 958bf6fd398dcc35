"""From a POST to a score: the job, its result, its rows and its files."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from PIL import Image

from api.files import storage
from api.files.models import StoredFile
from api.files.sweep import sweep_orphans
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.scoring import judging
from api.scoring.backends import page
from api.scoring.models import LayoutScore
from tests.scoring.conftest import ASYNC, encoded, poster

pytestmark = pytest.mark.django_db(transaction=True)
HEADLINES = ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score")
VARIANT = {"gradient": "bg-gradient-to-br from-purple-500 to-pink-600", "font": "font-sans text-4xl", "layout": "centered"}
EVENT = {"title": "Midsummer Jazz Night", "description": "Live on the lake stage"}
Score = Callable[..., Job]


def overlays(media: Path) -> list[Path]:
    return sorted(media.glob("output/**/*.jpg"))


def test_a_screenshot_gets_four_scores_with_reasons_and_measures(score: Score) -> None:
    result = score({"image": encoded(poster())}).result
    assert all(0 <= result[name] <= 100 for name in HEADLINES)
    assert result["reasoning"]
    assert {"center_of_mass", "hue_harmony", "text_contrast", "white_space"} <= result["measures"].keys()
    assert set(result["measures"]["center_of_mass"]) == {"value", "score", "band"}
    assert (result["backend"], result["model"], result["device"]) == ("heuristic", "heuristic-4", "cpu")
    assert result["scored"] == ["image"]
    assert result["duration"] > 0
    assert "subband_entropy" not in result["measures"]


def test_a_row_keeps_the_score_with_its_picture_and_overlay(score: Score) -> None:
    job = score({"image": encoded(poster()), "variant": VARIANT, "event_data": EVENT})
    row = LayoutScore.objects.get(job=job)
    assert (row.aesthetic_score, row.reasoning) == (job.result["aesthetic_score"], job.result["reasoning"])
    assert (row.variant, row.title) == (VARIANT, EVENT["title"])
    assert str(row.image_id) == job.params["image"]
    assert row.overlay is not None
    assert (row.overlay.content_type, row.overlay.purpose, row.overlay.owner_key) == ("image/jpeg", "output", job.owner_key)


def test_the_overlay_can_be_fetched(score: Score, client: Client) -> None:
    job = score({"image": encoded(poster())})
    shown = client.get(f"/api/jobs/{job.pk}/").json()["result"]
    assert shown["overlay_url"] == f"http://testserver/api/images/{shown['overlay']}/file/"
    for address, kind in ((shown["overlay_url"], "image/jpeg"), (shown["overlay_thumbnail_url"], "image/webp")):
        reply = client.get(address)
        assert (reply.status_code, reply["Content-Type"]) == (200, kind)


def test_an_image_and_a_variant_both_count(score: Score) -> None:
    result = score({"image": encoded(poster()), "variant": VARIANT, "event_data": EVENT}).result
    assert result["scored"] == ["image", "variant"]
    assert {"text_contrast", "gradient_contrast"} <= result["measures"].keys()


def test_without_an_image_the_variant_alone_is_scored_and_the_answer_says_so(score: Score) -> None:
    result = score({"variant": VARIANT, "event_data": EVENT}).result
    assert result["scored"] == ["variant"]
    assert "There was no image: the variant alone was scored." in result["reasoning"]
    assert (result["overlay"], result["image"]) == (None, None)


def test_deep_adds_the_measure_of_clutter(score: Score) -> None:
    assert "subband_entropy" in score({"image": encoded(poster()), "deep": True}).result["measures"]


def test_elements_are_measured_as_boxes(score: Score) -> None:
    elements = [{"kind": "title", "x": 100, "y": 60, "w": 440, "h": 80}, {"x": 100, "y": 300, "w": 440, "h": 80}]
    result = score({"image": encoded(poster()), "elements": elements}).result
    assert {"box_balance", "box_equilibrium", "box_density", "overlap", "alignment"} <= result["measures"].keys()
    assert result["measures"]["overlap"]["value"] == 0


def test_an_unknown_tailwind_class_is_a_warning_on_the_job(score: Score) -> None:
    job = score({"variant": {"gradient": "from-mauve-500 to-pink-600"}})
    assert job.warnings == ["No Tailwind class that is known here: 'from-mauve-500'; the rest was scored."]


def test_an_image_that_is_here_is_scored_by_its_id(score: Score) -> None:
    first = score({"image": encoded(poster())})
    second = score({"image": first.params["image"]})
    assert {name: second.result[name] for name in HEADLINES} == {name: first.result[name] for name in HEADLINES}
    assert StoredFile.objects.filter(purpose="upload").count() == 1


def test_a_multipart_upload_may_bring_its_variant_as_json(score: Score, client: Client, tmp_path: Path) -> None:
    poster().save(tmp_path / "poster.png")
    upload = SimpleUploadedFile("poster.png", (tmp_path / "poster.png").read_bytes(), "image/png")
    body = {"image": upload, "variant": '{"gradient": "from-purple-500 to-pink-600"}', "deep": "false"}
    reply = client.post("/api/score/", body, headers=ASYNC)
    assert reply.status_code == 202, reply.content
    assert reply.json()["params"]["variant"] == {"gradient": "from-purple-500 to-pink-600"}


def test_the_same_idempotency_key_and_picture_are_one_job(client: Client, media: Path) -> None:
    body = {"image": encoded(poster())}
    headers = {**ASYNC, "Idempotency-Key": "one"}
    replies = [client.post("/api/score/", body, content_type="application/json", headers=headers).json() for _ in range(2)]
    assert replies[0]["id"] == replies[1]["id"]


# ---------------------------------------------------------------- batches


def test_a_batch_is_one_job_with_its_scores_in_order(score: Score) -> None:
    pale, plain = encoded(poster(ink=(226, 232, 240))), encoded(poster())
    items = [{"image": pale}, {"variant": VARIANT}, {"image": plain}, {"image": pale}]
    job = score({"items": items}, "/api/score/batch/")
    scores = job.result["scores"]
    assert [result["scored"] for result in scores] == [["image"], ["variant"], ["image"], ["image"]]
    assert scores[0]["measures"] == scores[3]["measures"] != scores[2]["measures"]
    assert list(LayoutScore.objects.filter(job=job).order_by("index").values_list("index", flat=True)) == [0, 1, 2, 3]
    assert job.progress["fraction"] == 1


def test_a_picture_that_several_items_share_is_looked_at_once(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    look = page.Page.of
    monkeypatch.setattr(page.Page, "of", lambda picture: looked.append(picture) or look(picture))
    image = encoded(poster())
    items = [{"image": image, "event_data": {"title": f"Night {number}"}} for number in range(5)]
    job = score({"items": [*items, {"image": encoded(poster(paper=(254, 243, 199)))}]}, "/api/score/batch/")
    assert len(looked) == 2
    assert len(job.result["scores"]) == 6


def test_one_overlay_is_drawn_while_the_next_picture_is_measured(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    """It once waited for the overlay before it looked at the next: a batch took as long as its parts one by one."""
    keep, judge, second_measured = judging.keep_overlay, judging.judge_picture, Event()
    measured, waited = [], []

    def judge_and_tell(*given: Any) -> Any:
        found = judge(*given)
        measured.append(found)
        if len(measured) == 2:
            second_measured.set()
        return found

    def keep_later(judged: judging.Judged) -> judging.Judged:
        waited.append(second_measured.wait(20))
        return keep(judged)

    monkeypatch.setattr(judging, "judge_picture", judge_and_tell)
    monkeypatch.setattr(judging, "keep_overlay", keep_later)
    items = [{"image": encoded(poster(paper=paper))} for paper in ((255, 255, 255), (254, 243, 199), (236, 253, 245))]
    assert len(score({"items": items}, "/api/score/batch/").result["scores"]) == 3
    assert waited == [True] * 3


def test_a_batch_says_which_item_a_warning_is_about(score: Score) -> None:
    job = score({"items": [{"variant": VARIANT}, {"variant": {"font": "comic"}}]}, "/api/score/batch/")
    assert job.warnings == ["Item 2: No Tailwind class that is known here: 'comic'; the rest was scored."]


def test_single_requests_that_wait_together_are_claimed_together(post: Callable[..., Any], media: Path, settings: Any) -> None:
    settings.MAX_BATCH = 4
    for title in ("one", "two", "three"):
        post({"event_data": {"title": title}})
    loop = WorkerLoop()
    assert loop.run_once()
    assert not loop.run_once()
    assert Job.objects.filter(status="succeeded").count() == 3


def test_one_requests_missing_picture_fails_that_one_alone(post: Callable[..., Any], media: Path, settings: Any) -> None:
    settings.MAX_BATCH = 4
    bad = post({"image": encoded(poster())}).json()
    good = post({"image": encoded(poster(ink=(190, 18, 60)))}).json()
    storage.remove_file(StoredFile.objects.get(pk=bad["params"]["image"]).name)
    WorkerLoop().run_once()
    jobs = {str(job.pk): job for job in Job.objects.all()}
    assert (jobs[bad["id"]].status, jobs[bad["id"]].error["code"]) == ("failed", "file_missing")
    assert jobs[good["id"]].status == "succeeded"


# ---------------------------------------------------------------- files and rows


def test_deleting_the_job_deletes_rows_overlay_and_upload(score: Score, media: Path, client: Client) -> None:
    job = score({"image": encoded(poster())})
    StoredFile.objects.update(used_at=timezone.now() - timedelta(hours=1))
    assert len(overlays(media)) == 1
    assert client.delete(f"/api/jobs/{job.pk}/").status_code == 204
    assert LayoutScore.objects.count() == StoredFile.objects.count() == 0
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_a_job_that_was_taken_over_meanwhile_leaves_no_overlay(
    post: Callable[..., Any], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = post({"image": encoded(poster())}).json()["id"]
    write = storage.write_image_files

    def lost_while_writing(*args: Any, **options: Any) -> storage.WrittenFile:
        Job.objects.filter(pk=job_id).update(lease_token=uuid.uuid4())
        return write(*args, **options)

    monkeypatch.setattr(storage, "write_image_files", lost_while_writing)
    WorkerLoop().run_once()
    assert Job.objects.get(pk=job_id).status == "running"
    assert overlays(media) == []
    assert LayoutScore.objects.count() == 0


def test_a_full_disk_fails_the_job_with_507_and_leaves_nothing(
    post: Callable[..., Any], media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"image": encoded(poster())}, {"image": encoded(poster(ink=(190, 18, 60)))}]
    job_id = post({"items": items}, "/api/score/batch/").json()["id"]
    write, written = storage.write_image_files, []

    def room_for_one(*args: Any, **options: Any) -> storage.WrittenFile:
        if written:
            raise storage.DiskFull
        written.append(write(*args, **options))
        return written[0]

    monkeypatch.setattr(storage, "write_image_files", room_for_one)
    WorkerLoop().run_once()
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "disk_full", 507)
    assert overlays(media) == []


def test_the_sweep_of_orphans_leaves_overlays_alone(score: Score, media: Path) -> None:
    score({"image": encoded(poster())})
    sweep_orphans(timedelta(seconds=-5), timedelta(seconds=-5))
    assert len(overlays(media)) == 1


def test_a_retry_is_scored_again_with_the_same_picture(score: Score, client: Client) -> None:
    job = score({"image": encoded(poster()), "event_data": EVENT})
    retried = client.post(f"/api/jobs/{job.pk}/retry/", headers=ASYNC).json()
    WorkerLoop().run_once()
    again = Job.objects.get(pk=retried["id"])
    assert (again.status, again.retry_of_id) == ("succeeded", job.pk)
    assert again.result["measures"] == job.result["measures"]
    assert again.inputs.count() == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "1", "P"])
def test_every_kind_of_picture_is_scored(score: Score, mode: str) -> None:
    image = (
        Image.new("RGBA", (64, 48), (0, 0, 0, 0))
        if mode == "RGBA"
        else poster(size=(160, 100)).convert("L" if mode == "I;16" else mode)
    )
    image = image.convert("I;16") if mode == "I;16" else image
    result = score({"image": encoded(image, "JPEG" if mode == "CMYK" else "PNG")}).result
    assert all(0 <= result[name] <= 100 for name in HEADLINES)


def test_an_image_of_one_pixel_is_scored(score: Score) -> None:
    assert score({"image": encoded(Image.new("RGB", (1, 1)))}).result["reasoning"]
