"""POST /api/hazards/: what it answers, what it keeps, what it refuses."""

import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from PIL import Image

from api.files.models import StoredFile
from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.model_loader import ModelLoader
from api.vision.boxes import Box
from api.vision.hazard_handler import annotations_of
from api.vision.hazards import FoundHazards, HazardCell, HazardLabel, Position
from api.vision.overlays import colour_of
from tests.rows import make_picture
from tests.vision.conftest import encoded, loader_of, work
from tests.vision.hazard_models import QUARTERS, build_constant, build_mobilenet, build_quarters, write_cells

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]

MODELS: dict[str, Callable[[Path], Path]] = {
    "quarters": build_quarters,
    "mobilenet": build_mobilenet,
    "short": lambda folder: write_cells(build_quarters(folder), {**QUARTERS, "classes": ["a", "b", "c", "d"]}),
    "outside": lambda folder: write_cells(build_quarters(folder), {**QUARTERS, "boxes": [[0, 0, 90, 30]] * 4}),
    "nan": lambda folder: build_constant(folder, [[float("nan")] * 12]),
}
PATH = "/api/hazards/"


@pytest.fixture(scope="module")
def hazard_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hazards")
    for name, build in MODELS.items():
        build(folder / name)
    build_quarters(folder / "bare")
    (folder / "bare" / "cells.json").unlink()
    tables = [f'[models."tiny-{name}"]\npath = "{name}"\ntask = "hazard-cells"' for name in (*MODELS, "bare")]
    (folder / "catalog.toml").write_text("\n".join(tables))
    return folder / "catalog.toml"


@pytest.fixture
def loader(hazard_catalog: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    settings.DEFAULT_HAZARD_MODEL = "tiny-quarters"
    yield from loader_of(hazard_catalog, settings, tmp_path, monkeypatch)


@pytest.fixture
def inspect(run: Callable[..., Job]) -> Callable[..., Job]:
    """POST, let a worker do it, and give the finished job, however it ended."""
    return lambda **fields: run({"image": encoded(scene()), **fields}, path=PATH)


def scene(size: tuple[int, int] = (160, 120)) -> Image.Image:
    """White, but for a black upper right quarter and a red lower left one."""
    picture = Image.new("RGB", size, "white")
    picture.paste("black", (size[0] // 2, 0, size[0], size[1] // 2))
    picture.paste("red", (0, size[1] // 2, size[0] // 2, size[1]))
    return picture


def found(job: Job) -> dict[int, str]:
    return {cell["index"]: cell["labels"][0]["label"] for cell in job.result["cells"]}


def test_the_cells_with_a_hazard_come_with_box_position_and_labels(inspect: Callable[..., Job]) -> None:
    job = inspect()
    assert (job.status, job.warnings) == ("succeeded", [])
    dark, red = job.result["cells"]
    assert (dark["index"], dark["box"]) == (1, {"xmin": 80.0, "ymin": 0.0, "xmax": 160.0, "ymax": 60.0})
    assert dark["position"] == {"side": "right", "distance": "far"}
    assert [label["label"] for label in dark["labels"]] == ["tối"]
    assert dark["labels"][0]["score"] == pytest.approx(1.0, abs=1e-3)
    assert (red["index"], red["position"]) == (2, {"side": "left", "distance": "near"})
    assert [label["label"] for label in red["labels"]] == ["red", "tối"]
    assert job.result["risk"] == "medium"


@pytest.mark.parametrize("colour", ["white", "#c0c0c0"])
def test_a_blank_picture_has_no_hazard(inspect: Callable[..., Job], colour: str) -> None:
    job = inspect(image=encoded(Image.new("RGB", (80, 60), colour)), annotate=True)
    assert job.status == "succeeded"
    assert (job.result["risk"], job.result["cells"]) == ("none", [])
    assert job.result["annotated"]["width"] >= 80


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_seen_as_a_person_sees_it(inspect: Callable[..., Job], turn: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = scene().transpose(undo[turn]) if turn in undo else scene()
    exif = Image.Exif()
    exif[0x0112] = turn
    job = inspect(image=encoded(stored, exif=exif))
    assert found(job) == {1: "tối", 2: "red"}
    assert job.result["cells"][0]["box"] == {"xmin": 80.0, "ymin": 0.0, "xmax": 160.0, "ymax": 60.0}


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_a_picture_in_any_mode_is_read(inspect: Callable[..., Job], mode: str) -> None:
    black = Image.new("L", (80, 60), 0)
    picture = black.convert("I").convert("I;16") if mode == "I;16" else black.convert("RGB").convert(mode)
    job = inspect(image=encoded(picture, "JPEG" if mode == "CMYK" else "PNG"))
    assert found(job) == dict.fromkeys(range(4), "tối")


@pytest.mark.parametrize("size", [(1, 1), (20000, 10)])
def test_a_picture_of_another_shape_is_squeezed_and_said_to_be(inspect: Callable[..., Job], size: tuple[int, int]) -> None:
    job = inspect(image=encoded(Image.new("RGB", size, "black")))
    assert len(job.result["cells"]) == 4
    last = job.result["cells"][3]["box"]
    assert (last["xmax"], last["ymax"]) == size
    assert job.warnings == [
        f"The picture ({size[0]} × {size[1]}) has another shape than the model was made for (80 × 60): it was squeezed."
    ]


@pytest.mark.parametrize(("threshold", "counts"), [(0, [2, 2, 2, 2]), (1, [1, 1])])
def test_the_threshold_goes_from_0_to_1(inspect: Callable[..., Job], threshold: float, counts: list[int]) -> None:
    job = inspect(threshold=threshold)
    assert [len(cell["labels"]) for cell in job.result["cells"]] == counts


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"threshold": -0.1}, "threshold", "min_value"),
        ({"threshold": 1.1}, "threshold", "max_value"),
        ({"threshold": "NaN"}, "threshold", "invalid"),
        ({"model_id": "tiny-quarter"}, "model_id", "unknown_model"),
        ({"model_id": "starter"}, "model_id", "wrong_task"),
        ({"image": "!"}, "image", "not_base64"),
        ({"image": str(uuid.uuid4())}, "image", "not_found"),
        ({"iou": 0.5}, "iou", "unknown_field"),
    ],
)
def test_a_request_that_is_not_valid_is_a_400_that_names_the_field(
    post: Callable[..., Any], loader: Any, fields: dict[str, Any], field: str, code: str
) -> None:
    reply = post({"image": encoded(scene()), **fields}, PATH)
    assert reply.status_code == 400, reply.content
    [error] = reply.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("short", "12 outputs, which is no multiple of 5"),
        ("outside", "lies outside the reference picture"),
        ("bare", "there is no cells.json"),
        ("nan", "outputs that are no probabilities"),
    ],
)
def test_a_model_that_does_not_fit_its_cells_fails_the_job_in_words(
    inspect: Callable[..., Job], model: str, reason: str
) -> None:
    job = inspect(model_id=f"tiny-{model}")
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "broken_model", 422)
    assert reason in job.error["detail"]


def test_a_mobilenet_in_safetensors_is_served(inspect: Callable[..., Job]) -> None:
    job = inspect(model_id="tiny-mobilenet", threshold=0)
    assert [len(cell["labels"]) for cell in job.result["cells"]] == [2, 2, 2, 2]
    assert job.model_id == "tiny-mobilenet"


def test_the_params_of_a_job_are_a_request_for_the_same(inspect: Callable[..., Job], post: Callable[..., Any]) -> None:
    job = inspect(threshold=0.6, annotate=True)
    picture = job.params["image"]
    assert job.params == {"image": picture, "model_id": "tiny-quarters", "threshold": 0.6, "annotate": True}
    assert post(job.params, PATH).json()["params"] == job.params


def test_a_retry_finds_the_same(inspect: Callable[..., Job], client: Client) -> None:
    job = inspect()
    again = client.post(f"/api/jobs/{job.pk}/retry/", headers={"Prefer": "respond-async"}).json()
    work()
    assert Job.objects.get(pk=again["id"]).result == job.result


def test_jobs_of_one_model_and_other_thresholds_are_one_batch(
    post: Callable[..., Any], loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.vision.backends.hazards import run_hazards

    sizes: list[int] = []
    plain = run_hazards.find_with

    def counted(model: Any, requests: Any, batch_size: int) -> Any:
        sizes.append(len(requests))
        return plain(model, requests, batch_size)

    monkeypatch.setattr(run_hazards, "find_with", counted)
    gone = make_picture()
    bodies = [{}, {"threshold": 0}, {"image": str(gone.pk)}, {"image": encoded(Image.new("RGB", (80, 60), "white"))}]
    ids = [post({"image": encoded(scene()), **body}, PATH).json()["id"] for body in bodies]
    gone.file.delete()
    work()
    jobs = [Job.objects.get(pk=pk) for pk in ids]
    assert sizes == [3]
    assert [job.status for job in jobs] == ["succeeded", "succeeded", "failed", "succeeded"]
    assert jobs[2].error["code"] == "file_missing"
    assert [len(jobs[place].result["cells"]) for place in (0, 1, 3)] == [2, 4, 0]


def test_an_annotated_picture_is_kept_and_linked_to_its_source(inspect: Callable[..., Job], client: Client) -> None:
    source = make_picture()
    job = inspect(image=str(source.pk), annotate=True)
    shown = client.get(f"/api/jobs/{job.pk}/").json()["result"]["annotated"]
    image = GeneratedImage.objects.get(pk=shown["id"])
    assert (image.origin, image.job, list(image.sources.all())) == ("annotated", job, [source])
    assert client.get(shown["url"]).status_code == 200


def test_what_was_found_is_drawn_over_the_cells(inspect: Callable[..., Job], client: Client) -> None:
    job = inspect(image=encoded(scene((800, 600))), annotate=True)
    url = client.get(f"/api/jobs/{job.pk}/").json()["result"]["annotated"]["url"]
    drawn = Image.open(io.BytesIO(b"".join(client.get(url).streaming_content))).convert("RGB")
    assert drawn.size == (800, 600)
    assert drawn.getpixel((600, 150)) != (0, 0, 0)  # the dark cell is tinted
    assert drawn.getpixel((200, 150)) == (255, 255, 255)  # the normal ones are left as they were
    assert drawn.getpixel((600, 450)) == (255, 255, 255)


def cell(xmin: float, ymin: float, *names: str) -> HazardCell:
    box = Box(xmin, ymin, xmin + 10, ymin + 10)
    return HazardCell(0, box, Position("ahead", "far"), tuple(HazardLabel(name, 0.9) for name in names))


def test_of_cells_side_by_side_with_the_same_labels_the_first_is_labelled() -> None:
    cells = (
        cell(0, 0, "step"), cell(10, 0, "step"), cell(20, 0, "step", "pole"), cell(40, 0, "step", "pole"), cell(50, 10, "step", "pole"),
    )  # fmt: skip
    drawn = annotations_of(FoundHazards(cells, (100.0, 100.0)))
    assert [one.text for one in drawn] == ["step 0.90", "", "step, pole 0.90", "step, pole 0.90", "step, pole 0.90"]
    assert {one.colour for one in drawn} == {colour_of("step")}


def test_the_admin_shows_risk_and_cells_of_a_job(inspect: Callable[..., Job], client: Client) -> None:
    job = inspect(annotate=True)
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
    assert "Hazards" in page
    assert "Risk: <strong>medium</strong>" in page
    assert "far, right" in page
    assert "tối 1.00" in page
    assert 'points="80.0,0.0 160.0,0.0 160.0,60.0 80.0,60.0"' in page
    assert f"/admin/images/generatedimage/{job.result['annotated']['id']}/change/" in page
    StoredFile.objects.filter(pk=job.params["image"]).delete()
    assert "The picture has been deleted." in client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
