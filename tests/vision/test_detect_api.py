"""POST /api/detect/: what it answers, what it keeps, what it refuses."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.vision.models import Detection
from tests.files.conftest import encode
from tests.rows import make_picture
from tests.vision.conftest import blank, encoded, work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]
Detect = Callable[..., Job]


def found(job: Job) -> list[tuple[str, float]]:
    return [(one["label"], one["score"]) for one in job.result["detections"]]


def test_what_was_found_comes_with_its_box_in_pixels_of_the_picture(detect: Detect) -> None:
    job = detect(image=encoded(blank((128, 64))))
    assert (job.result["width"], job.result["height"]) == (128, 64)
    cat, dog = job.result["detections"][:2]  # in the input of 64 × 64 the picture is 64 × 32, 16 from the top
    assert cat == {
        "label": "mèo", "class_id": 0, "score": 0.9, "box": {"xmin": 16.0, "ymin": 0.0, "xmax": 80.0, "ymax": 48.0}
    }  # fmt: skip
    assert dog["box"] == {"xmin": 60.0, "ymin": 8.0, "xmax": 120.0, "ymax": 64.0}
    assert job.warnings == []
    assert {"queue", "decode", "load", "detect"} <= job.timings.keys()


def test_detections_are_rows_that_are_deleted_with_their_job(detect: Detect, client: Client) -> None:
    job = detect()
    rows = list(Detection.objects.order_by("index"))
    assert [(row.label, row.class_id, row.score) for row in rows] == [("mèo", 0, 0.9), ("chó", 1, 0.6), ("xe buýt", 2, 0.3)]
    assert {(row.job, row.owner_key, row.model_id, str(row.image_id)) for row in rows} == {
        (job, "local", "tiny-yolo", job.params["image"])
    }
    assert rows[0].box == {"xmin": 8.0, "ymin": 8.0, "xmax": 40.0, "ymax": 40.0}
    assert client.delete(f"/api/jobs/{job.pk}/").status_code == 204
    assert not Detection.objects.exists()


def test_of_two_boxes_of_one_class_that_overlap_the_better_one_stays(detect: Detect) -> None:
    assert found(detect()) == [("mèo", 0.9), ("chó", 0.6), ("xe buýt", 0.3)]
    assert found(detect(iou=1)) == [("mèo", 0.9), ("mèo", 0.8), ("chó", 0.6), ("xe buýt", 0.3)]


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"threshold": 0.5}, ["mèo", "chó"]),
        ({"threshold": 1}, []),
        ({"max_detections": 1}, ["mèo"]),
        ({"classes": ["xe buýt", "CHÓ"]}, ["chó", "xe buýt"]),
        ({"classes": ["me\u0300o"]}, ["mèo"]),  # in NFD
    ],
)
def test_only_what_was_asked_for_is_told(detect: Detect, fields: dict[str, Any], labels: list[str]) -> None:
    assert [label for label, _ in found(detect(fields))] == labels


def test_a_threshold_of_nothing_gives_all_that_the_model_said(detect: Detect) -> None:
    assert len(found(detect(threshold=0))) == 3


def test_a_class_that_the_model_does_not_have_is_a_400_that_names_those_it_has(run: Detect) -> None:
    job = run(classes=["mèo", "ngựa"])
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "unknown_class", 400)
    assert "classes" in job.error["detail"]
    assert "'ngựa'" in job.error["detail"]
    assert "mèo, chó, xe buýt" in job.error["detail"]


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"threshold": -0.1}, "threshold", "min_value"),
        ({"threshold": 1.1}, "threshold", "max_value"),
        ({"threshold": "NaN"}, "threshold", "invalid"),
        ({"iou": 2}, "iou", "max_value"),
        ({"max_detections": 0}, "max_detections", "min_value"),
        ({"classes": []}, "classes", "min_length"),
        ({"classes": ["x" * 301]}, "classes.0", "max_length"),
        ({"model_id": "tiny-yola"}, "model_id", "unknown_model"),
        ({"model_id": "starter"}, "model_id", "wrong_task"),
        ({"model_id": "tiny-owlv2"}, "classes", "required"),
        ({"image": "!"}, "image", "not_base64"),
        ({"image": str(uuid.uuid4())}, "image", "not_found"),
        ({"colour": "red"}, "colour", "unknown_field"),
    ],
)
def test_a_request_that_is_not_valid_is_a_400_that_names_the_field(
    post: Callable[..., Any], loader: Any, fields: dict[str, Any], field: str, code: str
) -> None:
    reply = post({"image": encoded(blank()), **fields})
    assert reply.status_code == 400, reply.content
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)


def test_iou_is_said_to_have_no_effect_where_a_model_gives_one_box_for_each_thing(detect: Detect) -> None:
    job = detect(model_id="tiny-yolo-selected", iou=0.3)
    assert found(job) == [("mèo", 0.9), ("chó", 0.6), ("xe buýt", 0.3)]
    assert ["iou has no effect" in warning for warning in job.warnings] == [True]
    assert detect(model_id="tiny-yolo-selected").warnings == []


def test_the_params_of_a_job_are_a_request_for_the_same(detect: Detect, post: Callable[..., Any]) -> None:
    job = detect(threshold=0.5, classes=["mèo"], annotate=True)
    assert job.params == {
        "image": job.params["image"], "model_id": "tiny-yolo", "threshold": 0.5, "iou": 0.45, "classes": ["mèo"],
        "max_detections": 100, "annotate": True,
    }  # fmt: skip
    assert post(job.params).json()["params"] == job.params


def test_a_retry_finds_the_same(detect: Detect, client: Client) -> None:
    job = detect(threshold=0.5)
    again = client.post(f"/api/jobs/{job.pk}/retry/", headers={"Prefer": "respond-async"}).json()
    work()
    retried = Job.objects.get(pk=again["id"])
    assert (retried.retry_of_id, retried.result) == (job.pk, job.result)


def test_the_same_idempotency_key_and_picture_are_the_same_job(post: Callable[..., Any], loader: Any) -> None:
    body = {"image": encoded(blank())}
    first, again = (post(body, **{"Idempotency-Key": "k"}) for _ in range(2))
    other = post({**body, "threshold": 0.5}, **{"Idempotency-Key": "k"})
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 422


def test_jobs_are_listed_by_their_kind_model_and_classes(detect: Detect, client: Client) -> None:
    job = detect(classes=["mèo", "chó"])
    for query in ("kind=detect", "model_id=tiny-yolo", "q=mèo, chó"):
        assert [one["id"] for one in client.get(f"/api/jobs/?{query}").json()["results"]] == [str(job.pk)]


# ---------------------------------------------------------------- ways to send a picture


def test_a_picture_comes_as_a_data_url_a_file_or_the_id_of_one_here(detect: Detect, client: Client) -> None:
    by_url = detect(image=f"data:image/png;base64,{encoded(blank())}")
    here = make_picture()
    by_id = detect(image=str(here.pk))
    reply = client.post(
        "/api/detect/",
        {"image": named(encode(blank())), "classes": ["mèo", "chó"], "threshold": "0.5"},
        headers={"Prefer": "respond-async"},
    )
    assert reply.status_code == 202, reply.content
    work()
    by_file = Job.objects.get(pk=reply.json()["id"])
    assert by_url.params["image"] == by_file.params["image"]  # the same pixels are kept once
    assert found(by_file) == [("mèo", 0.9), ("chó", 0.6)]
    assert (by_id.result["width"], by_id.params["image"]) == (here.width, str(here.pk))


def named(data: bytes) -> Any:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile("a.png", data, "image/png")


# ---------------------------------------------------------------- annotated pictures


def test_an_annotated_picture_is_kept_and_linked_to_its_source(detect: Detect, client: Client) -> None:
    source = make_picture()
    job = detect(image=str(source.pk), annotate=True)
    shown = client.get(f"/api/jobs/{job.pk}/").json()["result"]["annotated"]
    image = GeneratedImage.objects.get(pk=shown["id"])
    assert (image.origin, image.job, image.model_id, list(image.sources.all())) == ("annotated", job, "tiny-yolo", [source])
    assert (image.width, image.height) == (shown["width"], shown["height"])
    assert shown["url"].endswith(f"/api/images/{image.pk}/file/")
    assert client.get(shown["url"])["Content-Type"] == client.get(shown["thumbnail_url"])["Content-Type"].replace("webp", "png")
    [listed] = client.get("/api/images/?origin=annotated").json()["results"]
    assert (listed["id"], listed["prompt"], listed["sources"]) == (shown["id"], None, [{"id": str(source.pk), "role": "image"}])


def test_without_annotate_no_picture_is_made(detect: Detect) -> None:
    assert "annotated" not in detect().result
    assert not GeneratedImage.objects.exists()


# ---------------------------------------------------------------- several at once


def test_jobs_of_one_model_are_one_batch_and_each_has_its_own_result(
    post: Callable[..., Any], loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.vision.backends import run_detector

    sizes: list[int] = []
    plain = run_detector.detect_with

    def counted(model: Any, requests: Any, *rest: Any) -> Any:
        sizes.append(len(requests))
        return plain(model, requests, *rest)

    monkeypatch.setattr(run_detector, "detect_with", counted)
    bodies = [{"threshold": 0.5}, {"classes": ["ngựa"]}, {"max_detections": 1}, {"image": encoded(blank((32, 64)))}]
    ids = [post({"image": encoded(blank()), **body}).json()["id"] for body in bodies]
    work()
    jobs = [Job.objects.get(pk=pk) for pk in ids]
    assert sizes == [4]
    assert [job.status for job in jobs] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert found(jobs[0]) == [("mèo", 0.9), ("chó", 0.6)]
    assert found(jobs[2]) == [("mèo", 0.9)]
    assert jobs[3].result["detections"][0]["box"] == {"xmin": 0.0, "ymin": 8.0, "xmax": 24.0, "ymax": 40.0}


def test_a_job_whose_picture_is_gone_fails_by_itself(post: Callable[..., Any], loader: Any) -> None:
    gone, kept = make_picture(), make_picture()
    ids = [post({"image": str(picture.pk)}).json()["id"] for picture in (gone, kept)]
    gone.file.delete()
    work()
    first, second = (Job.objects.get(pk=pk) for pk in ids)
    assert (first.error["code"], second.status) == ("file_missing", "succeeded")
