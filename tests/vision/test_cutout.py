"""Cutting out: where the subject is, edges, colours, transparency through files and thumbnails, and what is refused."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image, ImageDraw

from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.model_loader import ModelLoader
from api.vision.cutout.edges import alpha_of, cut_out, enlarged
from tests.vision.conftest import encoded, entry, loader_of
from tests.vision.tiny_segmenters import PROMPTED, SEMANTIC, UNIVERSAL, build_red_mask, build_segmenter

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]
Run = Callable[..., Job]
RED, GREEN = (255, 0, 0), (0, 160, 0)


@pytest.fixture(scope="module")
def segmenter_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenters")
    for family in (*SEMANTIC, *UNIVERSAL, *PROMPTED):
        build_segmenter(folder / family, family)
    build_red_mask(folder / "red" / "model.onnx")
    build_red_mask(folder / "red-logits" / "model.onnx", logits=True)
    build_red_mask(folder / "red-scaled" / "model.onnx", scaling={"image_mean": [0, 0, 0], "image_std": [2, 2, 2]})
    build_red_mask(folder / "red-broken" / "model.onnx", scaling={"image_mean": [0, 0, 0], "image_std": [0, 1, 1]})
    (folder / "catalog.toml").write_text(
        "\n".join(
            [
                *(entry(name, "image-segmentation") for name in (*SEMANTIC, *UNIVERSAL)),
                *(entry(name, "image-segmentation") for name in ("red", "red-logits", "red-scaled", "red-broken")),
                *(entry(name, "mask-generation") for name in PROMPTED),
            ]
        )
    )
    return folder / "catalog.toml"


@pytest.fixture
def loader(segmenter_catalog: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    settings.DEFAULT_CUTOUT_MODEL = "tiny-red"
    yield from loader_of(segmenter_catalog, settings, tmp_path, monkeypatch)


@pytest.fixture
def cut(run: Run) -> Run:
    """POST, let a worker do it, and give the job, which succeeded."""

    def send(picture: Image.Image | None = None, **fields: Any) -> Job:
        job = run({"image": encoded(picture or disc())}, "/api/cutout/", **fields)
        assert job.status == "succeeded", job.error
        return job

    return send


def disc(size: tuple[int, int] = (96, 64), colour: Any = RED, ground: Any = GREEN) -> Image.Image:
    """A soft-edged disc in the middle."""
    large = Image.new("RGB", (size[0] * 4, size[1] * 4), ground)
    box = (size[0] * 2 - 80, size[1] * 2 - 80, size[0] * 2 + 80, size[1] * 2 + 80)
    ImageDraw.Draw(large).ellipse(box, fill=colour)
    return large.resize(size, Image.Resampling.BOX)


def made(client: Client, job: Job, what: str = "file") -> Image.Image:
    image_id = job.result["images"][0]["id"]
    return Image.open(io.BytesIO(b"".join(client.get(f"/api/images/{image_id}/{what}/"))))


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize("output_format", ["png", "webp", "avif"])
def test_the_subject_is_on_a_transparent_ground_in_the_file_and_in_its_thumbnail(
    client: Client, cut: Run, output_format: str
) -> None:
    job = cut(output_format=output_format)
    for what in ("file", "thumbnail"):
        picture = made(client, job, what)
        assert picture.mode == "RGBA"
        assert picture.getpixel((48, 32))[3] >= 250
        assert picture.getpixel((3, 3))[3] == 0
    assert made(client, job).size == (96, 64)


def test_pixels_of_the_subject_are_the_pictures_own(client: Client, cut: Run) -> None:
    picture = disc()
    result = np.asarray(made(client, cut(picture)))
    inside = result[..., 3] == 255
    assert inside.sum() > 800
    assert np.array_equal(result[inside][:, :3], np.asarray(picture)[inside])


def test_a_mask_is_white_where_the_subject_is_and_may_be_a_jpeg(client: Client, cut: Run) -> None:
    mask = made(client, cut(output="mask"))
    assert (mask.mode, mask.size) == ("L", (96, 64))
    assert (mask.getpixel((48, 32)), mask.getpixel((3, 3))) == (255, 0)
    assert made(client, cut(output="mask", output_format="jpeg")).format == "JPEG"


def test_the_result_tells_where_the_subject_is_and_how_much_of_the_picture_it_takes(cut: Run) -> None:
    result = cut().result
    assert result["coverage"] == pytest.approx(np.pi * 20**2 / (96 * 64), abs=0.02)
    assert result["box"] == pytest.approx({"xmin": 28, "ymin": 12, "xmax": 68, "ymax": 52}, abs=2)


def test_the_picture_is_an_edited_one_made_from_its_source(cut: Run, client: Client) -> None:
    job = cut()
    source = client.post("/api/images/", {"image": encoded(disc())}, "application/json").json()["id"]
    again = cut(None, image=source)
    image = GeneratedImage.objects.get(pk=again.result["images"][0]["id"])
    assert (image.origin, str(image.source_id), image.is_generated) == ("edited", source, False)
    assert GeneratedImage.objects.get(pk=job.result["images"][0]["id"]).source_id is None


def test_without_a_subject_all_is_transparent_and_the_job_says_so(client: Client, cut: Run) -> None:
    job = cut(Image.new("RGB", (40, 30), GREEN))
    assert (job.result["box"], job.result["coverage"]) == (None, 0)
    assert [warning for warning in job.warnings if "No subject" in warning]
    assert made(client, job).getchannel("A").getextrema() == (0, 0)


def test_what_has_no_effect_is_told(cut: Run) -> None:
    job = cut(box={"xmin": 1, "ymin": 1, "xmax": 9, "ymax": 9}, classes=["cat"])
    assert [warning for warning in job.warnings if warning.startswith("box has no effect")]
    assert [warning for warning in job.warnings if warning.startswith("classes has no effect")]


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 900), (700, 1100)])
def test_pictures_of_every_shape_keep_it(client: Client, cut: Run, size: tuple[int, int]) -> None:
    assert made(client, cut(Image.new("RGB", size, RED))).size == size


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGBA", (20, 20), (255, 0, 0, 128)),
        Image.new("P", (20, 20)),
        Image.new("I;16", (20, 20), 40000),
        Image.new("L", (20, 20), 99),
    ],
)
def test_pictures_of_every_mode_are_taken(client: Client, cut: Run, picture: Image.Image) -> None:
    assert made(client, cut(picture)).size == (20, 20)


def test_a_turned_photograph_is_cut_out_upright(client: Client, run: Run) -> None:
    picture = Image.new("RGB", (64, 32), GREEN)
    picture.paste(RED, (0, 0, 20, 32))  # on the left, which EXIF 6 turns to the top
    exif = picture.getexif()
    exif[0x0112] = 6
    job = run({"image": encoded(picture, "JPEG", exif=exif, quality=95)}, "/api/cutout/")
    result = made(client, job)
    assert result.size == (32, 64)
    assert result.getpixel((16, 5))[3] > 200 > 50 > result.getpixel((16, 60))[3]


# ---------------------------------------------------------------- edges


def test_edges_follow_the_picture_where_the_mask_is_coarse() -> None:
    picture = disc((256, 256))
    truth = np.asarray(disc((256, 256), (255, 255, 255), (0, 0, 0)).convert("L"), np.float32) / 255
    coarse = np.asarray(Image.fromarray((truth * 255).astype(np.uint8)).resize((32, 32)), np.float32) / 255
    refined = np.asarray(alpha_of(coarse, picture, refine=True), np.float32) / 255
    plain = np.asarray(alpha_of(coarse, picture, refine=False), np.float32) / 255
    assert np.abs(refined - truth).mean() < 0.65 * np.abs(plain - truth).mean()


def test_strips_of_a_large_picture_are_the_whole() -> None:
    picture, mask = disc((300, 1300)), np.asarray(disc((300, 1300), "white", "black").convert("L"), np.float32) / 255
    whole = np.asarray(alpha_of(mask, picture, refine=True), int)
    top = np.asarray(alpha_of(mask, picture, refine=True).crop((0, 400, 300, 900)), int)
    assert np.array_equal(whole[400:900], top)
    assert np.abs(np.diff(whole[:, 150])).max() <= 255
    assert np.abs(whole[511] - whole[512]).mean() < 12


def test_colours_at_the_edge_lose_those_of_the_ground() -> None:
    picture = disc((200, 160))
    alpha = enlarged(np.asarray(disc((200, 160), "white", "black").convert("L"), np.float32) / 255, picture.size)
    result = np.asarray(cut_out(picture, alpha), int)
    edge = (result[..., 3] > 60) & (result[..., 3] < 200)
    assert edge.sum() > 50
    before = np.abs(np.asarray(picture, int)[edge] - RED).mean()
    assert np.abs(result[edge][:, :3] - RED).mean() < 0.25 * before


# ---------------------------------------------------------------- models


def test_logits_and_shares_are_told_apart(cut: Run) -> None:
    assert cut(model_id="tiny-red-logits").result["coverage"] == pytest.approx(cut().result["coverage"], abs=0.05)


def test_a_file_may_say_how_pixels_are_scaled(cut: Run) -> None:
    assert cut(model_id="tiny-red-scaled", refine=False).result["coverage"] < 0.6 * cut(refine=False).result["coverage"]


@pytest.mark.parametrize("family", [*SEMANTIC, *UNIVERSAL])
@pytest.mark.parametrize("size", [(80, 48), (48, 80)])
def test_transformers_classes_cut_out_classes_by_name(client: Client, cut: Run, family: str, size: tuple[int, int]) -> None:
    job = cut(disc(size), model_id=f"tiny-{family}", classes=["MÈO", "xe buýt"])
    assert made(client, job).size == size


@pytest.mark.parametrize("family", SEMANTIC)
def test_all_classes_together_are_all_of_the_picture(cut: Run, family: str) -> None:
    job = cut(model_id=f"tiny-{family}", classes=["mèo", "chó", "xe buýt"], refine=False)
    assert job.result["coverage"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("family", PROMPTED)
@pytest.mark.parametrize(
    "where",
    [
        {"box": {"xmin": 20, "ymin": 10, "xmax": 70, "ymax": 60}},
        {"points": [{"x": 48, "y": 32}]},
        {"box": {"xmin": 20, "ymin": 10, "xmax": 70, "ymax": 60}, "points": [{"x": 1, "y": 1, "inside": False}]},
    ],
)
def test_sams_family_is_told_where_the_subject_is(client: Client, cut: Run, family: str, where: dict[str, Any]) -> None:
    assert made(client, cut(model_id=f"tiny-{family}", **where)).size == (96, 64)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"output_format": "jpeg"}, "output_format", "transparency"),
        ({"model_id": "starter"}, "model_id", "cut subjects out"),
        ({"model_id": "tiny-sam"}, "box", "where the subject is"),
        ({"model_id": "tiny-sam", "box": {"xmin": 9, "ymin": 1, "xmax": 5, "ymax": 9}}, "box", "96 × 64"),
        ({"model_id": "tiny-sam", "box": {"xmin": 9, "ymin": 1, "xmax": 97, "ymax": 9}}, "box", "96 × 64"),
        ({"model_id": "tiny-sam", "points": [{"x": 5, "y": 5}, {"x": 5, "y": 65}]}, "points.1", "outside"),
        ({"box": {"xmin": 1}}, "box.ymin", "required"),
        ({"output": "picture"}, "output", ""),
        ({"classes": []}, "classes", ""),
    ],
)
def test_what_is_refused_names_its_field(
    post: Callable[..., Any], loader: ModelLoader, fields: dict[str, Any], field: str, words: str
) -> None:
    reply = post({"image": encoded(disc()), **fields}, "/api/cutout/")
    assert reply.status_code == 400
    errors = {error["field"]: error["detail"] for error in reply.json()["errors"]}
    assert field in errors
    assert words in errors[field]


def test_a_model_with_classes_must_be_told_which_and_names_them(run: Run) -> None:
    for classes, code in ((None, "classes_required"), (["con voi"], "unknown_class")):
        job = run({"image": encoded(disc())}, "/api/cutout/", model_id="tiny-segformer", classes=classes)
        assert (job.status, job.error["code"], job.error["status"]) == ("failed", code, 400)
        assert "mèo" in job.error["detail"]


def test_a_model_whose_files_are_wrong_says_why(run: Run) -> None:
    job = run({"image": encoded(disc())}, "/api/cutout/", model_id="tiny-red-broken")
    assert (job.status, job.error["code"]) == ("failed", "broken_model")
    assert "image_std" in job.error["detail"]
