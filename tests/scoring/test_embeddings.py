"""`POST /v1/embeddings` in a worker: whose inputs are embedded together, what of a request is refused, what is kept."""

import uuid
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader
from api.scoring.backends.clip import ClipEncoder
from api.scoring.models import InputVectors
from tests.scoring.conftest import encoded

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
PATH = "/v1/embeddings"
TEXTS = [f"{number} red circles" for number in range(130)]
"""More than one pass takes."""


def picture(color: str) -> Image.Image:
    return Image.new("RGB", (40, 30), color)


def vectors(job: Job) -> Any:
    return np.stack([np.frombuffer(row, "<f4") for row in InputVectors.objects.get(pk=job.pk).rows()])


def test_jobs_of_one_claim_share_their_passes_and_one_that_fails_fails_alone(
    post: Callable[..., Any], media: Path, loader: ModelLoader, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    passes: list[int] = []
    real = ClipEncoder.raw_text_features
    monkeypatch.setattr(ClipEncoder, "raw_text_features", lambda self, texts: (passes.append(len(texts)), real(self, texts))[1])
    seen = f"data:image/png;base64,{encoded(picture('red'))}"
    inputs = [["a lake", seen, "a pizza " * 90], TEXTS, [{"image": encoded(picture("blue"))}, "a boat"]]
    jobs = [Job.objects.get(pk=post({"input": one, "dimensions": 7}, PATH).json()["id"]) for one in inputs]
    gone, unwanted = jobs[2], Job.objects.get(pk=post({"input": "nothing"}, PATH).json()["id"])
    for file in gone.inputs.all():
        Path(media, file.file.name).unlink()
    cancel_job(job=unwanted)
    assert WorkerLoop().run_once()
    assert passes == [128, 5]
    for job in (*jobs, unwanted):
        job.refresh_from_db()
    assert [job.status for job in (*jobs, unwanted)] == ["succeeded", "succeeded", "failed", "cancelled"]
    assert gone.error["code"] == "file_missing"
    encoder = ClipEncoder(loader, "starter-clip")
    texts, pictures = encoder.raw_text_features([*inputs[0][::2], *TEXTS]), encoder.raw_image_features([picture("red")])
    raw = [np.stack([texts[0], pictures[0], texts[1]]), texts[2:]]
    for job, expected in zip(jobs, raw, strict=False):
        cut = expected[:, :7] / np.linalg.norm(expected[:, :7], axis=1, keepdims=True)
        np.testing.assert_allclose(vectors(job), cut, atol=1e-2)  # half precision, and another batch's shape
    assert jobs[0].result["truncated"] == [2]
    assert jobs[0].warnings == [
        "starter-clip reads 77 tokens of a text; of input 2 (counted from 0) only the beginning counts."
    ]
    told = client.get(f"/api/jobs/{jobs[0].pk}/?include=base64").json()["result"]
    assert b"".join(map(b64decode, told["embeddings_base64"])) == bytes(InputVectors.objects.get(pk=jobs[0].pk).data)
    assert "embeddings_base64" not in client.get(f"/api/jobs/{jobs[0].pk}/").json()["result"]
    jobs[0].delete()
    assert InputVectors.objects.count() == 1


PNG = encoded(picture("red"))
URL = f"data:image/png;charset=utf-8;base64,{PNG}"


def test_every_form_of_a_text_and_a_picture_is_the_same_job(post: Callable[..., Any], media: Path, loader: ModelLoader) -> None:
    first = post({"input": URL}, PATH).json()["params"]
    identifier = first["input"][0]["image"]
    pictures: list[Any] = [
        [URL], {"image": identifier}, {"image": PNG}, {"type": "image_url", "image_url": {"url": URL}}, {"image_url": URL},
        {"content": [{"type": "image_url", "image_url": {"url": URL}}]},
    ]  # fmt: skip
    for form in pictures:
        assert post({"input": form, "model": "text-embedding-3-small"}, PATH).json()["params"] == first
    as_text = {"input": "a lake", "priority": 0, "tools": [], "dimensions": None, "model": "dummy"}
    forms: list[Any] = [{"text": "a lake", "image": None}, {"type": "text", "text": "a lake"}]
    texts = [post({"input": form}, PATH).json()["params"] for form in forms]
    assert texts == [post(as_text, PATH).json()["params"]] * 2


@pytest.mark.parametrize(
    ("body", "status", "param", "said"),
    [
        ({"input": ["a"] * 3000}, 400, "input", "2048 is the limit"),
        ({"input": [URL] * 257}, 400, "input", "256 is the limit"),
        ({"input": [1, 2]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"input": ["a", [1, 2]]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"input": []}, 400, "input", "nothing to embed"),
        ({"input": ["a", ""]}, 400, "input[1]", "blank"),
        ({"input": ["a\0b"]}, 400, "input[0]", "Null"),
        ({"input": "a" * 100_001}, 400, "input", "100000"),
        ({"input": {"text": "a", "image": PNG}}, 400, "input", "either a text or an image"),
        ({"input": [{"image": "no image!"}]}, 400, "input[0]", "not base64"),
        ({"input": [{"image": str(uuid.uuid4())}]}, 400, "input[0]", "no image with this id"),
        ({"input": "a", "dimensions": 0}, 400, "dimensions", "greater than or equal to 1"),
        ({"input": "a", "dimensions": 1.5}, 400, "dimensions", "integer"),
        ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format", "not a valid choice"),
        ({"input": "a", "model": "starter-clop"}, 404, "model", "starter-clip"),
        ({"input": "a", "model": "starter"}, 400, "model", "text-to-image"),
        ({"input": "a", "normalize": False}, 400, "normalize", "can't be used here"),
        ({"input": "a", "inptu": "b"}, 400, "inptu", "Did you mean 'input'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    post: Callable[..., Any], media: Path, loader: ModelLoader, body: dict[str, Any], status: int, param: str, said: str
) -> None:
    reply = post(body, PATH)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert said in error["message"]
    assert not Job.objects.exists()
