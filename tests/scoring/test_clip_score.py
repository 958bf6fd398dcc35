"""`POST /api/clip-score/`: pictures against prompts, as one pass, with rows for people to look through."""

import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image

from api.access.services import create_key
from api.files.models import StoredFile
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader
from api.scoring.backends.clip import ClipEncoder
from api.scoring.models import PromptScore
from api.starter import world
from tests.scoring.conftest import ASYNC, encoded, poster

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
PATH = "/api/clip-score/"
PROMPTS = ["a lake at sunset", "a pizza with olives", "a red circle"]
FIGURES = {"clip_cosine", "clip_model", "clip_score", "clip_score_hessel"}


def drawn(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    return [Image.fromarray(np.asarray(world.render(world.sample(rng), seed))) for seed in range(count)]


@pytest.fixture
def compare(score: Callable[..., Job], loader: ModelLoader) -> Callable[..., Job]:
    return lambda **body: score(body, PATH)


def rendered(client: Client, job: Job) -> dict[str, Any]:
    result: dict[str, Any] = client.get(f"/api/jobs/{job.pk}/").json()["result"]
    return result


def test_every_picture_is_held_against_every_prompt(compare: Callable[..., Job], client: Client, loader: ModelLoader) -> None:
    pictures = drawn(2)
    result = rendered(client, compare(images=[encoded(picture) for picture in pictures], prompts=PROMPTS))
    expected = ClipEncoder(loader, "starter-clip").cosines(pictures, PROMPTS)
    found = [[cell["clip_cosine"] for cell in row] for row in result["scores"]]
    np.testing.assert_allclose(found, expected, atol=5e-3)  # the batch's shape moves half precision's last digits
    assert all(cell.keys() == FIGURES for row in result["scores"] for cell in row)
    assert (result["model"], result["prompts"]) == ("starter-clip", PROMPTS)
    assert [client.get(image["thumbnail_url"]).status_code for image in result["images"]] == [200, 200]
    assert "pairs" not in result


def test_the_four_figures_of_a_cell_agree(compare: Callable[..., Job], client: Client) -> None:
    cells = rendered(client, compare(images=[encoded(drawn(1)[0])], prompts=PROMPTS))["scores"][0]
    for cell in cells:
        assert cell["clip_score"] == pytest.approx(100 * max(cell["clip_cosine"], 0), abs=1e-4)
        assert cell["clip_score_hessel"] == pytest.approx(250 * max(cell["clip_cosine"], 0), abs=1e-4)


def test_pairs_are_told_and_kept_when_they_are_asked_for(compare: Callable[..., Job], client: Client) -> None:
    job = compare(images=[encoded(picture) for picture in drawn(2)], prompts=PROMPTS[:2], pairs=True)
    result = rendered(client, job)
    assert result["pairs"] == [result["scores"][0][0], result["scores"][1][1]]
    assert [(row.image_index, row.prompt_index) for row in job.prompt_scores.order_by("image_index")] == [(0, 0), (1, 1)]


def test_each_cell_is_a_row(compare: Callable[..., Job]) -> None:
    job = compare(images=[encoded(picture) for picture in drawn(2)], prompts=PROMPTS)
    rows = PromptScore.objects.filter(job=job).order_by("image_index", "prompt_index")
    assert [row.clip_cosine for row in rows] == [cosine for line in job.result["cosines"] for cosine in line]
    assert {row.prompt for row in rows} == set(PROMPTS)
    assert {str(row.image_id) for row in rows} == set(job.params["images"])


def test_a_picture_may_be_named_by_its_id_and_twice(compare: Callable[..., Job], client: Client) -> None:
    first = compare(images=[encoded(drawn(1)[0])], prompts=PROMPTS[:1])
    identifier = first.params["images"][0]
    scores = rendered(client, compare(images=[identifier, identifier], prompts=PROMPTS[:1]))["scores"]
    assert scores[0] == scores[1]


def test_another_model_may_be_chosen(compare: Callable[..., Job]) -> None:
    job = compare(images=[encoded(poster())], prompts=["a cat"], model_id="tiny-clip")
    assert (job.model_id, job.result["model"], job.prompt_scores.get().clip_model) == ("tiny-clip",) * 3


def test_a_prompt_that_is_cut_is_told(compare: Callable[..., Job], client: Client) -> None:
    job = compare(images=[encoded(poster())], prompts=["a cat", "a lake " * 200])
    assert rendered(client, job)["truncated"] == [1]
    assert "Prompt 2 is longer than starter-clip reads" in job.warnings[0]


def test_requests_of_one_claim_share_a_pass_and_keep_their_own_scores(
    post: Callable[..., Any], media: Path, loader: ModelLoader
) -> None:
    jobs = [
        post({"images": [encoded(picture)], "prompts": PROMPTS[: place + 1]}, PATH).json()["id"]
        for place, picture in enumerate(drawn(3))
    ]
    assert WorkerLoop().run_once()
    found = [Job.objects.get(pk=job) for job in jobs]
    assert [job.status for job in found] == ["succeeded"] * 3
    assert [len(job.result["cosines"][0]) for job in found] == [1, 2, 3]
    expected = ClipEncoder(loader, "starter-clip").cosines(drawn(3), PROMPTS)
    for place, job in enumerate(found):
        np.testing.assert_allclose(job.result["cosines"][0], expected[place, : place + 1], atol=5e-3)


def test_more_pictures_than_one_pass_takes_keep_their_order(compare: Callable[..., Job], loader: ModelLoader) -> None:
    pictures = drawn(35)
    job = compare(images=[encoded(picture) for picture in pictures], prompts=PROMPTS[:1])
    expected = ClipEncoder(loader, "starter-clip").cosines(pictures, PROMPTS[:1])
    np.testing.assert_allclose(job.result["cosines"], expected, atol=5e-3)


def test_a_cancelled_job_stops_before_its_next_pass(
    post: Callable[..., Any], media: Path, loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ClipEncoder.features_of
    passes: list[int] = []

    def ask_to_cancel(self: ClipEncoder, looks: Any) -> Any:
        passes.append(len(looks))
        cancel_job(job=Job.objects.get())
        run_of_the_worker().cancel_asked.set()  # what the lease keeper's thread does at its next beat
        return real(self, looks)

    loop = WorkerLoop()

    def run_of_the_worker() -> Any:
        return loop.batch[0]

    monkeypatch.setattr(ClipEncoder, "features_of", ask_to_cancel)
    post({"images": [encoded(Image.new("RGB", (9, 9), (5, 5, n))) for n in range(35)], "prompts": ["a"]}, PATH)
    loop.run_once()
    assert passes == [32]
    assert Job.objects.get().status == "cancelled"
    assert not PromptScore.objects.exists()


def test_files_of_a_form_are_taken(client: Client, media: Path, loader: ModelLoader) -> None:
    files = []
    for picture in drawn(9):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        files.append(SimpleUploadedFile("x.png", buffer.getvalue(), "image/png"))
    reply = client.post(PATH, {"images": files, "prompts": PROMPTS}, headers=ASYNC)
    assert reply.status_code == 202, reply.content
    assert (len(reply.json()["params"]["images"]), reply.json()["params"]["prompts"]) == (9, PROMPTS)


def test_the_same_request_under_one_idempotency_key_is_one_job(client: Client, media: Path, loader: ModelLoader) -> None:
    body = {"images": [encoded(poster())], "prompts": ["a cat"]}
    headers = {**ASYNC, "Idempotency-Key": "once"}
    ids = {client.post(PATH, body, "application/json", headers=headers).json()["id"] for _ in range(2)}
    assert len(ids) == 1


PICTURE = encoded(Image.new("RGB", (4, 4)))


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"prompts": ["a"]}, "images", "required"),
        ({"images": [], "prompts": ["a"]}, "images", "at least 1"),
        ({"images": [PICTURE] * 65, "prompts": ["a"]}, "images", "64"),
        ({"images": PICTURE, "prompts": ["a"]}, "images", "list"),
        ({"images": [PICTURE, "no image!"], "prompts": ["a"]}, "images.1", "not base64"),
        ({"images": [str(uuid.uuid4())], "prompts": ["a"]}, "images.0", ""),
        ({"images": [PICTURE]}, "prompts", "required"),
        ({"images": [PICTURE], "prompts": []}, "prompts", "at least 1"),
        ({"images": [PICTURE], "prompts": ["a", " "]}, "prompts.1", "blank"),
        ({"images": [PICTURE], "prompts": ["a"] * 65}, "prompts", "64"),
        ({"images": [PICTURE], "prompts": ["a" * 2001]}, "prompts.0", "2000"),
        ({"images": [PICTURE], "prompts": ["a\0b"]}, "prompts.0", "Null"),
        ({"images": [PICTURE], "prompts": [["a"]]}, "prompts.0", "valid string"),
        ({"images": [PICTURE], "prompts": ["a"], "model_id": "starter-clop"}, "model_id", "starter-clip"),
        ({"images": [PICTURE], "prompts": ["a"], "model_id": "starter"}, "model_id", "its task is text-to-image"),
        ({"images": [PICTURE], "prompts": ["a"], "model": "starter-clip"}, "model", "Did you mean 'model_id'"),
        ({"images": [PICTURE], "prompts": ["a", "b"], "pairs": True}, "prompts", "as many prompts (2) as images (1)"),
    ],
)
def test_what_is_wrong_is_named(
    post: Callable[..., Any], media: Path, loader: ModelLoader, body: dict[str, Any], field: str, said: str
) -> None:
    reply = post(body, PATH)
    assert reply.status_code == 400, reply.content
    assert reply.json()["errors"][0]["field"] == field
    assert said in reply.json()["errors"][0]["detail"]


def test_a_job_whose_picture_is_gone_says_so(post: Callable[..., Any], media: Path, loader: ModelLoader) -> None:
    job = post({"images": [encoded(poster())], "prompts": ["a"]}, PATH).json()
    for file in media.rglob("*.*"):
        file.unlink()
    WorkerLoop().run_once()
    error = Job.objects.get(pk=job["id"]).error
    assert (error["code"], error["status"]) == ("file_missing", 410)


def test_another_owners_picture_is_not_there(
    client: Client, post: Callable[..., Any], media: Path, loader: ModelLoader
) -> None:
    mine = post({"images": [encoded(poster())], "prompts": ["a"]}, PATH).json()["params"]["images"][0]
    _, secret = create_key(name="somebody else")
    headers = {**ASYNC, "Authorization": f"Bearer {secret}"}
    reply = client.post(PATH, {"images": [mine], "prompts": ["a"]}, "application/json", headers=headers)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "images.0")


# -- In the admin


@pytest.mark.parametrize(
    ("query", "first"),
    [("", None), ("sort=best", True), ("sort=worst", False), ("model=starter-clip", None), ("q=lake", None)],
)
def test_rows_can_be_looked_through(compare: Callable[..., Job], admin_client: Client, query: str, first: bool | None) -> None:
    job = compare(images=[encoded(drawn(1)[0])], prompts=PROMPTS)
    page = admin_client.get(f"{reverse('admin:scoring_promptscore_changelist')}?{query}").content.decode()
    cosines = [f"{cosine:.4f}" for cosine in sorted(job.result["cosines"][0], reverse=first is not False)]
    places = [page.find(f"<strong>{cosine}</strong>") for cosine in cosines]
    assert f"/api/images/{job.params['images'][0]}/thumbnail/" in page
    assert PROMPTS[0] in page
    assert first is None or places == sorted(places)


def test_one_row_has_a_page_and_can_not_be_changed(compare: Callable[..., Job], admin_client: Client) -> None:
    row = compare(images=[encoded(drawn(1)[0])], prompts=PROMPTS[:1]).prompt_scores.get()
    address = reverse("admin:scoring_promptscore_change", args=[row.pk])
    assert f"{row.clip_cosine:.4f}" in admin_client.get(address).content.decode()
    assert admin_client.post(address, {"prompt": "another"}).status_code == 403


def test_a_row_outlives_its_picture_and_goes_with_its_job(compare: Callable[..., Job]) -> None:
    job = compare(images=[encoded(drawn(1)[0])], prompts=PROMPTS[:1])
    job.inputs.all().delete()
    StoredFile.objects.get(pk=job.params["images"][0]).delete()
    assert job.prompt_scores.get().image is None
    job.delete()
    assert not PromptScore.objects.exists()
