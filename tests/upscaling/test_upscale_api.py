"""POST /api/upscale/: what it answers, what it keeps, what it refuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from api.files.models import StoredFile
from api.files.services import open_image, read_file
from api.images.backends.upscalers import tiles
from api.images.models import GeneratedImage
from api.images.upscaling.enlarging import TilesAsSteps
from api.jobs.models import Job
from api.model_loader import ModelLoader
from tests.rows import make_picture
from tests.upscaling.conftest import PATH
from tests.vision.conftest import ASYNC, encoded, work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.models]


def scene(width: int = 40, height: int = 24) -> Image.Image:
    """Grey, with a red upper left quarter."""
    picture = Image.new("RGB", (width, height), (90, 90, 90))
    picture.paste("red", (0, 0, width // 2, height // 2))
    return picture


def made(job: Job, mode: Any = "RGBA") -> Image.Image:
    assert job.status == "succeeded", job.error
    [image] = job.result["images"]
    return open_image(StoredFile.objects.get(pk=image["id"]), mode)


# ---------------------------------------------------------------- what it answers


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("model_id", ["lanczos", "tiny-rrdb", "tiny-srvgg", "starter-upscaler"])
def test_a_picture_becomes_as_many_times_as_wide_and_high_by_any_model(
    upscale: Callable[..., Job], model_id: str, scale: int
) -> None:
    job = upscale(image=encoded(scene()), model_id=model_id, scale=scale)
    assert made(job).size == (40 * scale, 24 * scale)
    assert (job.warnings, job.model_id, job.progress["fraction"]) == ([], model_id, 1.0)


def test_lanczos_is_pillows(upscale: Callable[..., Job]) -> None:
    job = upscale(image=encoded(scene()), model_id="lanczos", scale=3)
    assert made(job, "RGB").tobytes() == scene().resize((120, 72), Image.Resampling.LANCZOS).tobytes()


def test_of_two_upscalers_each_has_its_share_and_the_file_says_so(upscale: Callable[..., Job], client: Client) -> None:
    source = scene().convert("RGBA")
    source.putalpha(Image.linear_gradient("L").resize(source.size))
    job = upscale(image=encoded(source), model_id="nearest", scale=3, blend={"model_id": "lanczos", "weight": 0.25})
    nearest, lanczos = (made(upscale(image=encoded(source), model_id=name, scale=3)) for name in ("nearest", "lanczos"))
    assert made(job).tobytes() == Image.blend(nearest, lanczos, 0.25).tobytes()
    assert nearest.convert("RGB").getpixel((59, 35)) == (255, 0, 0)  # a square of each pixel: no third colour at the edge
    assert nearest.getchannel("A").tobytes() == source.getchannel("A").resize((120, 72), Image.Resampling.NEAREST).tobytes()
    assert job.progress["step"] == job.progress["steps"] == 2
    assert "Postprocess upscaler: Nearest, Postprocess upscaler 2: Lanczos" in texts_of(job)["parameters"]
    [told] = [json.loads(texts_of(job)["darkroom"])["upscale"]]
    assert told == {"model_id": "nearest", "scale": 3, "blend": {"model_id": "lanczos", "weight": 0.25}}
    made_here = make_picture()
    enlarged = upscale(image=str(made_here.pk), model_id="lanczos", blend={"model_id": "nearest", "weight": 0.5})
    sent = {"image": enlarged.result["images"][0]["id"]}
    found = client.post("/api/png-info/", sent, content_type="application/json").json()
    assert found["request"]["upscale"]["blend"] == {"model_id": "nearest", "weight": 0.5}


@pytest.mark.parametrize(
    ("blend", "field"),
    [({}, "model_id"), ({"model_id": "starter"}, "model_id"), ({"model_id": "nearest", "weight": 2}, "weight")],
)
def test_a_second_upscaler_that_can_not_be_is_named(client: Client, blend: Any, field: str) -> None:
    body = {"image": encoded(scene()), "model_id": "lanczos", "blend": blend}
    [error] = client.post(PATH, body, content_type="application/json").json()["errors"]
    assert error["field"] == f"blend.{field}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"blend": {"model_id": "lanczos"}}, ["blend has no effect: both upscalers are lanczos."]),
        ({"blend": {"model_id": "nearest", "weight": 0}}, ["blend has the weight 0, and so no effect."]),
        (
            {"blend": {"model_id": "nearest", "weight": 1}},
            ["model_id has no effect: of lanczos nothing is left beside a blend of the weight 1."],
        ),
        ({"width": 80, "height": 30}, []),
        (
            {"width": 10, "height": 100},
            ["image: of its 40 × 24 pixels most are cropped, since 10 × 100 has another shape."],
        ),
    ],
)
def test_what_changes_nothing_or_loses_most_is_told(
    post: Callable[..., Any], loader: ModelLoader, fields: dict[str, Any], said: list[str]
) -> None:
    assert post({"image": encoded(scene()), "model_id": "lanczos", **fields}).json()["warnings"] == said


def test_without_a_model_and_a_scale_it_is_twice_by_the_servers_default(upscale: Callable[..., Job], settings: Any) -> None:
    settings.DEFAULT_UPSCALE_MODEL = "lanczos"
    job = upscale(image=encoded(scene()))
    assert job.params == {"image": job.params["image"], "model_id": "lanczos", "scale": 2, "output_format": "png"}


@pytest.mark.parametrize(
    ("size", "scale"),
    [((60, 36), 2), ((80, 48), 2), ((81, 48), 3), ((100, 200), 4), ((400, 240), 4), ((20, 12), 2), ((7, 99), 4)],
)
@pytest.mark.parametrize("model_id", ["lanczos", "tiny-srvgg"])
def test_a_size_is_reached_by_the_scale_that_comes_up_to_it(
    upscale: Callable[..., Job], model_id: str, size: tuple[int, int], scale: int
) -> None:
    job = upscale(image=encoded(scene()), model_id=model_id, width=size[0], height=size[1])
    assert made(job).size == size
    assert (job.params["scale"], job.params["width"], job.params["height"]) == (scale, *size)


def test_a_scale_beside_a_size_is_the_models(upscale: Callable[..., Job]) -> None:
    job = upscale(image=encoded(scene()), model_id="lanczos", width=50, height=30, scale=4)
    assert (made(job).size, job.params["scale"]) == ((50, 30), 4)


def test_what_is_beyond_a_size_is_cropped_on_both_sides_alike(upscale: Callable[..., Job]) -> None:
    wide = Image.new("RGB", (60, 20), "blue")
    wide.paste("red", (20, 0, 40, 20))
    cropped = made(upscale(image=encoded(wide), model_id="lanczos", width=40, height=40), "RGB")
    left, right = (cropped.getpixel((x, 20)) for x in (4, 35))
    assert left == right
    assert left[0] > 250  # type: ignore[index]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"width": 50}, "height"),
        ({"height": 50}, "width"),
        ({"width": 0, "height": 5}, "width"),
        ({"width": 65501, "height": 5}, "width"),
        ({"width": 60_000, "height": 60_000}, "width"),
        ({"width": 16_384, "height": 100, "output_format": "webp"}, "output_format"),
    ],
)
def test_a_size_that_can_not_be_is_refused(client: Client, fields: dict[str, Any], named: str) -> None:
    reply = client.post(PATH, {"image": encoded(scene()), "model_id": "lanczos", **fields}, content_type="application/json")
    assert (reply.status_code, [error["field"] for error in reply.json()["errors"]]) == (400, [named])


def test_the_params_with_a_size_are_a_request_for_the_same(upscale: Callable[..., Job], post: Callable[..., Any]) -> None:
    job = upscale(image=encoded(scene()), model_id="lanczos", width=70, height=30)
    assert post(job.params).json()["params"] == job.params


def test_the_picture_is_kept_as_upscaled_and_linked_to_its_source(upscale: Callable[..., Job], client: Client) -> None:
    source = client.post("/api/images/", {"image": encoded(scene())}, content_type="application/json").json()["id"]
    job = upscale(image=source, model_id="lanczos")
    shown = client.get(f"/api/jobs/{job.pk}/").json()["result"]
    assert shown["source_image"] == source
    [image] = shown["images"]
    assert (image["width"], image["height"]) == (80, 48)
    assert client.get(image["url"]).status_code == 200
    assert client.get(image["thumbnail_url"]).status_code == 200
    kept = client.get(f"/api/images/{image['id']}/").json()
    assert (kept["origin"], kept["source"], kept["prompt"]) == ("upscaled", source, None)
    assert [found["id"] for found in client.get(f"/api/images/?source={source}").json()["results"]] == [image["id"]]
    assert "image_base64" in client.get(f"/api/jobs/{job.pk}/?include=base64").json()["result"]["images"][0]


def texts_of(job: Job) -> dict[str, Any]:
    [image] = job.result["images"]
    return dict(Image.open(io.BytesIO(read_file(StoredFile.objects.get(pk=image["id"])))).info)


def test_the_file_says_how_it_was_enlarged(upscale: Callable[..., Job]) -> None:
    job = upscale(image=encoded(scene()), model_id="lanczos", scale=3)
    assert texts_of(job)["parameters"] == (
        "Size: 120x72, Postprocess upscale by: 3, Postprocess upscaler: Lanczos, Version: Darkroom"
    )
    carried = json.loads(texts_of(job)["darkroom"])
    assert carried == {
        "upscale": {"model_id": "lanczos", "scale": 3}, "source_image": job.params["image"], "job": str(job.pk),
    }  # fmt: skip


def test_the_file_of_a_picture_that_was_made_here_is_a_request_for_the_enlarged_one(
    upscale: Callable[..., Job], client: Client
) -> None:
    source = make_picture(owner_key="local", prompt="a red lake")
    job = upscale(image=str(source.pk), model_id="lanczos")
    assert texts_of(job)["parameters"].startswith("a red lake\n")
    told = client.post("/api/png-info/", {"image": job.result["images"][0]["id"]}, content_type="application/json").json()
    assert told["request"]["prompt"] == source.parameters.get("prompt", "a red lake")
    assert (told["request"]["seed"], told["request"]["upscale"]) == (source.seed, {"model_id": "lanczos", "scale": 2})


def test_a_picture_that_was_enlarged_twice_says_the_last_time_alone(upscale: Callable[..., Job]) -> None:
    first = upscale(image=encoded(scene()), model_id="lanczos")
    second = upscale(image=first.result["images"][0]["id"], model_id="lanczos", scale=4)
    assert json.loads(texts_of(second)["darkroom"])["upscale"]["scale"] == 4
    assert "prompt" not in json.loads(texts_of(second)["darkroom"])


def test_where_files_carry_nothing_this_one_does_neither(upscale: Callable[..., Job], settings: Any) -> None:
    settings.IMAGE_METADATA = False
    assert texts_of(upscale(image=encoded(scene()), model_id="lanczos")) == {}


def test_a_form_says_the_same(client: Client, loader: ModelLoader) -> None:
    file = io.BytesIO()
    scene().save(file, "PNG")
    upload = SimpleUploadedFile("a.png", file.getvalue(), "image/png")
    reply = client.post(PATH, {"image": upload, "scale": "3", "model_id": "lanczos"}, headers=ASYNC)
    assert reply.status_code == 202
    work()
    assert made(Job.objects.get(pk=reply.json()["id"])).size == (120, 72)


def test_the_params_of_a_job_are_a_request_for_the_same(upscale: Callable[..., Job], post: Callable[..., Any]) -> None:
    job = upscale(image=encoded(scene()), model_id="tiny-srvgg", scale=4, output_format="webp")
    assert post(job.params).json()["params"] == job.params


@pytest.mark.parametrize(("format", "signature"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_the_file_has_the_format_that_was_asked_for(upscale: Callable[..., Job], format: str, signature: bytes) -> None:
    job = upscale(image=encoded(scene()), model_id="lanczos", output_format=format)
    file = StoredFile.objects.get(pk=job.result["images"][0]["id"])
    assert read_file(file).startswith(signature)
    assert (file.width, file.height) == (80, 48)


def test_people_see_the_job_and_its_picture_in_the_admin(upscale: Callable[..., Job], client: Client) -> None:
    job = upscale(image=encoded(scene()), model_id="lanczos")
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
    assert job.result["images"][0]["id"] in page
    assert client.get(f"/admin/images/generatedimage/{job.result['images'][0]['id']}/change/").status_code == 200


# ---------------------------------------------------------------- any picture


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("model_id", ["lanczos", "tiny-rrdb"])
def test_a_picture_is_seen_as_a_person_sees_it(upscale: Callable[..., Job], model_id: str, turn: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    upright = upscale(image=encoded(scene()), model_id=model_id)
    turned = upscale(image=encoded(scene().transpose(undo[turn]) if turn in undo else scene(), exif=exif), model_id=model_id)
    assert made(turned).tobytes() == made(upright).tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "I;16", "1", "LA"])
def test_a_picture_in_any_mode_is_read(upscale: Callable[..., Job], mode: str) -> None:
    grey = Image.new("L", (30, 20), 128)
    picture = grey.convert("I").point(lambda value: value * 257).convert("I;16") if mode == "I;16" else grey.convert(mode)
    job = upscale(image=encoded(picture, "JPEG" if mode == "CMYK" else "PNG"), model_id="lanczos")
    assert made(job, "RGB").size == (60, 40)
    if mode != "1":
        assert abs(made(job, "RGB").getpixel((30, 20))[0] - 128) <= 3  # type: ignore[index]


@pytest.mark.parametrize("model_id", ["lanczos", "tiny-rrdb", "starter-upscaler"])
def test_transparency_is_kept_without_a_rim_of_what_nobody_sees(upscale: Callable[..., Job], model_id: str) -> None:
    """A white disc on transparent black."""
    picture = Image.new("RGBA", (48, 48), (0, 0, 0, 0))
    picture.paste((255, 255, 255, 255), (12, 12, 36, 36))
    enlarged = np.asarray(made(upscale(image=encoded(picture), model_id=model_id, scale=2)))
    assert enlarged.shape == (96, 96, 4)
    assert enlarged[..., 3].min() == 0
    assert enlarged[48, 48, 3] == 255
    if model_id != "tiny-rrdb":  # whose weights make any colour of white
        assert enlarged[..., :3][enlarged[..., 3] > 0].min() > 230


def test_a_format_without_transparency_gets_white_and_says_so(upscale: Callable[..., Job]) -> None:
    job = upscale(image=encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0))), model_id="lanczos", output_format="jpeg")
    assert min(made(job, "RGB").getpixel((20, 20))) >= 250  # type: ignore[type-var]
    assert job.warnings == ["A JPEG has no transparency: the picture was laid on white."]


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 3000)])
@pytest.mark.parametrize("model_id", ["lanczos", "tiny-srvgg"])
def test_a_picture_of_any_shape_is_enlarged(upscale: Callable[..., Job], model_id: str, size: tuple[int, int]) -> None:
    assert made(upscale(image=encoded(Image.new("RGB", size, "red")), model_id=model_id)).size == (size[0] * 2, size[1] * 2)


# ---------------------------------------------------------------- while it runs


def test_progress_counts_tiles(upscale: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiles.TILE_SIDES, "cpu", 24)
    told: list[tuple[int, int]] = []
    plain = TilesAsSteps.on_tile
    monkeypatch.setattr(TilesAsSteps, "on_tile", lambda self, done, of: (told.append((done, of)), plain(self, done, of)))
    job = upscale(image=encoded(scene(60, 40)), model_id="tiny-srvgg", scale=2)
    assert made(job).size == (120, 80)
    assert told == [(done, 6) for done in range(7)]


def test_cancelled_in_the_middle_of_a_tile_it_stops_before_the_next_and_leaves_nothing(
    upscale: Callable[..., Job], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.jobs.running import RunningJob

    monkeypatch.setitem(tiles.TILE_SIDES, "cpu", 24)
    plain, calls, runs = tiles.run, [], []
    begin = TilesAsSteps.__init__

    def remember(self: TilesAsSteps, run: RunningJob[Any]) -> None:
        runs.append(run)
        begin(self, run)

    def cancel_in_the_second(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            client.post(f"/api/jobs/{runs[0].id}/cancel/")
            runs[0].cancel_asked.set()  # as the lease's thread does when it hears of it
        return plain(*given)

    monkeypatch.setattr(TilesAsSteps, "__init__", remember)
    monkeypatch.setattr(tiles, "run", cancel_in_the_second)
    job = upscale(image=encoded(scene(60, 40)), model_id="tiny-srvgg", scale=2)
    assert (job.status, len(calls)) == ("cancelled", 2)
    assert not GeneratedImage.objects.filter(job=job).exists()


def test_where_memory_runs_out_the_tiles_become_smaller_and_the_job_says_so(
    upscale: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, sides = tiles.run, []

    def run(network: Any, pixels: np.ndarray) -> np.ndarray:
        sides.append(max(pixels.shape[:2]))
        if max(pixels.shape[:2]) > 80:
            raise MemoryError
        return plain(network, pixels)

    whole = upscale(image=encoded(scene(160, 100)), model_id="tiny-srvgg", scale=2)
    monkeypatch.setattr(tiles, "run", run)
    job = upscale(image=encoded(scene(160, 100)), model_id="tiny-srvgg", scale=2)
    assert np.abs(np.asarray(made(job), int) - np.asarray(made(whole), int)).max() <= 1
    assert "Memory ran out; tiles of at most 48 pixels a side." in job.warnings
    assert sides[0] > 80 >= sides[-1]
