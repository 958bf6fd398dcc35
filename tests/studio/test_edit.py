"""The page that edits pictures: what it offers, what it sends, and where it says what is wrong."""

import base64
import html
import io
import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from api.access.services import create_key
from api.files.models import StoredFile
from api.images.models import GeneratedImage
from api.jobs.models import Job
from tests.rows import PARAMS, make_job, make_picture

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
PAINT = "/studio/edit/paint"
ERROR = {"code": "out_of_memory", "status": 507, "detail": "The memory was not enough."}


def png_bytes(size: tuple[int, int] = (64, 48), colour: str = "white", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def png(name: str = "a.png", data: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data or png_bytes(), "image/png")


@pytest.fixture
def source(here: Client) -> str:
    """The id of a picture that was uploaded."""
    return str(here.post("/studio/edit/upload", {"picture": png()}, headers=PART).json()["id"])


def page(client: Client, query: str = "") -> str:
    return client.get(f"/studio/edit/{query}").content.decode()


def slot(reply: str, name: str) -> str:
    return reply.split(f'id="error-{name}"')[1].split("</span>")[0]


def paint(client: Client, source: str, **fields: Any) -> Any:
    return client.post(PAINT, {"image": source, "prompt": "a lake", "model_id": "starter", **fields}, headers=PART)


# ---------------------------------------------------------------- the picture


def test_an_upload_is_kept_once_and_found_again_by_its_id(here: Client) -> None:
    first, second = (here.post("/studio/edit/upload", {"picture": png()}, headers=PART).json() for _ in range(2))
    assert first == second
    assert GeneratedImage.objects.get().origin == "uploaded"
    shown = page(here, f"?image={first['id']}")
    assert f'data-source="{first["id"]}" data-width="64" data-height="48"' in shown
    reply = here.post("/studio/edit/upload", {"picture": png()})  # without scripts
    assert reply.headers["Location"] == f"/studio/edit/?image={first['id']}"


@pytest.mark.parametrize("data", [b"rubbish", b""])
def test_a_file_that_is_no_picture_is_a_sentence(here: Client, data: bytes) -> None:
    reply = here.post("/studio/edit/upload", {"picture": SimpleUploadedFile("a.png", data, "image/png")}, headers=PART)
    assert (reply.status_code, reply.headers["Content-Type"]) == (422, "text/plain; charset=utf-8")
    whole = here.post("/studio/edit/upload", {"picture": SimpleUploadedFile("a.png", data, "image/png")})
    assert whole.status_code == 422
    assert slot(whole.content.decode(), "image").endswith(f">{reply.content.decode()}")


def test_a_limit_of_uploads_is_told(here: Client, source: str, settings: Any) -> None:
    settings.MAX_UPLOADS_PER_KEY = 1
    reply = here.post("/studio/edit/upload", {"picture": png(data=png_bytes(colour="red"))}, headers=PART)
    assert reply.status_code == 429
    assert "which is your limit" in reply.content.decode()


def test_a_picture_brings_its_prompt_and_model_but_not_its_seed_or_size(here: Client) -> None:
    made = make_picture(make_job(params={**PARAMS, "hires": {"scale": 2.0}}), seed=77)
    shown = page(here, f"?image={made.pk}")
    assert "a red circle above a blue square</textarea>" in shown
    assert 'name="seed" value=""' in shown
    assert "hires" not in shown.split('id="prompt-form"')[1]
    assert f'href="/studio/edit/?image={made.pk}"' in here.get(f"/studio/images/{made.pk}/").content.decode()


def test_another_owner_s_picture_and_none_are_a_sentence(db: None) -> None:
    _, token = create_key(name="mine")
    client = Client(headers={"Authorization": f"Bearer {token}"})
    other = make_picture(make_job(owner_key="somebody"))
    for asked in (str(other.pk), "nonsense"):
        shown = page(client, f"?image={asked}")
        assert "This picture is not here, or not any more." in slot(shown, "image")
        assert str(other.pk) not in shown.split("<main")[1]  # the address, to which the choice of a language leads back, has it


# ---------------------------------------------------------------- repaint


def test_a_request_has_all_that_was_asked(here: Client, source: str) -> None:
    mask = f"data:image/png;base64,{base64.b64encode(png_bytes(colour='black')).decode()}"
    fields = {
        "negative_prompt": "fog", "strength": "0.4", "seed": "5", "steps": "3", "mask": mask, "mask_blur": "3", "fill": "blur",
        "inpaint_area": "mask", "mask_padding": "16", "left": "8", "right": "0", "bottom": "16", "top": "",
        "control_use": "preprocessor:canny", "control_weight": "0.5", "control_end": "0.8",
    }  # fmt: skip
    reply = paint(here, source, **fields)
    job = Job.objects.get()
    assert f'id="job-{job.pk}"' in reply.content.decode()
    params = job.params
    assert (job.kind, job.source, params["image"], params["strength"], params["seed"]) == ("img2img", "studio", source, 0.4, 5)
    assert (params["mask_blur"], params["fill"], params["inpaint_area"], params["mask_padding"]) == (3, "blur", "mask", 16)
    assert params["outpaint"] == {"left": 8, "right": 0, "top": 0, "bottom": 16}
    control = params["control"][0]
    assert (control["image"], control["preprocessor"], control["weight"], control["end"]) == (source, "canny", 0.5, 0.8)
    assert control["model_id"] == "starter-control"
    assert StoredFile.objects.get(pk=params["mask"]).width == 64
    shown = page(here, f"?job={job.pk}")  # and all of it comes back
    for value in (
        'name="seed" value="5"',
        'value="0.4"',
        'name="left" min="0" max="2048" step="8" value="8"',
        "selected>edges (canny)",
    ):
        assert value in shown, value
    assert f'data-mask="/api/images/{params["mask"]}/file/"' in shown


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ({"prompt": " "}, "prompt", "blank"),
        ({"strength": "2"}, "strength", "less than or equal to 1"),
        ({"left": "-8"}, "outpaint", "greater than or equal to 0"),
        ({"right": "2048", "left": "2048", "top": "9999"}, "outpaint", "2048"),
        ({"mask": "data:image/png;base64,AAAA"}, "mask", ""),
        ({"control_use": "preprocessor:canny", "control_weight": "9"}, "control_weight", "less than or equal to 2"),
        ({"control_use": "preprocessor:canny", "control_start": "0.9", "control_end": "0.2"}, "control_end", "above"),
        ({"control_use": "preprocessor:canny", "control_model_id": "no-such"}, "control_model_id", "no-such"),
        ({"control_use": "nonsense:x"}, "control", ""),
        ({"image": "0197c0de-0000-7000-8000-000000000000"}, "image", "no image with this id"),
        ({"model_id": "no-such"}, "model_id", "no-such"),
    ],
)
def test_what_is_refused_stands_beside_its_input(
    here: Client, source: str, fields: dict[str, str], place: str, words: str
) -> None:
    reply = paint(here, source, **fields)
    found = slot(reply.content.decode(), place)
    assert words in found
    assert not found.endswith(">")
    assert reply.headers["HX-Reswap"] == "none"
    assert not Job.objects.exists()


def test_every_place_for_an_error_is_on_the_page(here: Client, source: str) -> None:
    """What htmx finds no place for is lost."""
    for model in ("starter", "sdxl-base-1.0"):
        shown = (
            page(here, f"?image={source}")
            if model == "starter"
            else here.post("/studio/edit/steering", {"model_id": model}).content.decode() + page(here, f"?image={source}")
        )
        reply = paint(here, source, prompt=" ", model_id=model).content.decode()
        places = [part.split('"')[0] for part in reply.split('id="error-')[1:]]
        assert len(places) > 30
        assert [place for place in places if f'id="error-{place}"' not in shown] == []


def test_without_scripts_the_pictures_come_as_files(here: Client, source: str) -> None:
    data = {"image": source, "prompt": "a lake", "model_id": "starter", "mask_file": png("mask.png")}
    reply = here.post(PAINT, data)
    job = Job.objects.get()
    assert reply.headers["Location"] == f"/studio/jobs/{job.pk}/"
    assert job.params["mask"]
    refused = here.post(PAINT, {**data, "steps": "0"})
    assert refused.status_code == 422
    assert ">a lake</textarea>" in refused.content.decode()


def test_a_second_map_of_a_loaded_request_is_kept(here: Client, source: str) -> None:
    control = [{"image": source, "preprocessor": kind, "model_id": "starter-control"} for kind in ("canny", "scribble")]
    job = make_job("failed", kind="img2img", params={**PARAMS, "image": source, "control": control}, error=ERROR)
    shown = page(here, f"?job={job.pk}")
    assert "selected>edges (canny)" in shown
    [text] = re.findall(r'name="kept" value="([^"]*)"', shown)
    kept = html.unescape(text)
    assert json.loads(kept) == {"control": control[1]}
    paint(here, source, control_use="preprocessor:canny", kept=kept)
    sent = Job.objects.get(status="queued").params["control"]
    assert [one["preprocessor"] for one in sent] == ["canny", "scribble"]


def test_what_steers_fits_the_model(here: Client, source: str) -> None:
    fits = here.post("/studio/edit/steering", {"model_id": "starter", "control_weight": "0.25"}).content.decode()
    assert '<option value="starter-control"' in fits
    assert 'value="0.25"' in fits
    assert "ip-adapter-sdxl" not in fits
    none = here.post("/studio/edit/steering", {"model_id": "sdxl-base-1.0"}).content.decode()
    assert "No ControlNet for" in none
    assert "starter-control" not in none
    assert '<option value="ip-adapter-sdxl"' in none


# ---------------------------------------------------------------- without a prompt


def test_enlarging_cutting_out_and_a_map_are_jobs_of_their_kinds(here: Client, source: str) -> None:
    for tool, fields in (
        ("upscale", {"model_id": "lanczos", "scale": "3"}),
        ("cutout", {"model_id": "", "box": ""}),
        ("map", {"control_use": "preprocessor:scribble", "prompt": "of the form around it"}),
    ):
        reply = here.post(f"/studio/edit/tools/{tool}", {"image": source, **fields}, headers=PART).content.decode()
        assert f'id="job-{Job.objects.latest("pk").pk}"' in reply, reply
    jobs = {job.kind: job.params for job in Job.objects.all()}
    assert (jobs["upscale"]["scale"], jobs["upscale"]["model_id"]) == (3, "lanczos")
    assert jobs["cutout"]["model_id"] == "starter-cutout"
    assert jobs["preprocess"] == {"image": source, "kind": "scribble"}
    shown = page(here, f"?image={source}")  # in another tab
    assert all(f'id="job-{job.pk}"' in shown for job in Job.objects.all())


@pytest.mark.parametrize(
    ("tool", "fields", "place"),
    [
        ("upscale", {"scale": "9"}, "upscale-scale"),
        ("upscale", {"model_id": "starter"}, "upscale-model_id"),
        ("cutout", {"box": "[1]"}, "cutout-box"),
        ("cutout", {"image": "x"}, "cutout-image"),
        ("map", {"control_use": ""}, "map-kind"),
    ],
)
def test_a_tool_says_what_is_wrong_beside_it(here: Client, source: str, tool: str, fields: dict[str, str], place: str) -> None:
    reply = here.post(f"/studio/edit/tools/{tool}", {"image": source, **fields}, headers=PART).content.decode()
    assert not slot(reply, place).endswith(">")
    assert f'id="error-{place}"' in page(here, f"?image={source}")
    assert not Job.objects.exists()


def test_there_are_no_other_tools_and_a_full_queue_is_told(here: Client, source: str, settings: Any) -> None:
    assert here.post("/studio/edit/tools/chat", {"image": source}).status_code == 404
    settings.MAX_QUEUED_JOBS = 0
    reply = here.post("/studio/edit/tools/upscale", {"image": source}, headers=PART).content.decode()
    assert "queue" in slot(reply, "upscale-form")


# ---------------------------------------------------------------- results


def test_a_result_is_shown_over_its_source_and_may_be_the_next(here: Client, source: str) -> None:
    row = GeneratedImage.objects.get(pk=source)
    job = make_job(
        kind="img2img", params={**PARAMS, "image": source, "outpaint": {"left": 4, "right": 0, "top": 0, "bottom": 0}}
    )
    StoredFile.objects.get(pk=source).job_inputs.create(job=job)
    made = make_picture(job, source=row, origin="edited")
    shown = page(here, f"?image={source}")
    assert 'role="img" aria-label="Before"' in shown
    assert f'href="/api/images/{source}/file/" x="5.882%" y="0.000%" width="94.118%" height="100.000%"' in shown
    assert f'href="/studio/edit/?image={made.pk}"' in shown
    assert f'href="/studio/edit/?job={job.pk}"' in shown


def test_a_failed_edit_is_tried_again_or_changed_on_this_page(here: Client, source: str) -> None:
    job = make_job("failed", kind="img2img", params={**PARAMS, "image": source}, error=ERROR)
    shown = page(here)
    assert "The memory was not enough." in shown
    assert f'href="/studio/edit/?job={job.pk}"' in shown
    assert f"/studio/jobs/{job.pk}/retry" in shown


def test_one_who_may_only_look_edits_nothing(db: None) -> None:
    key, token = create_key(name="looks", scopes=["read"])
    made = make_picture(make_job(owner_key=key.prefix))
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert 'id="paint" type="submit" title="Ctrl+Enter" disabled' in page(client, f"?image={made.pk}")
    assert client.post("/studio/edit/upload", {"picture": png()}, headers=PART).status_code == 403
    assert paint(client, str(made.pk)).status_code == 403
