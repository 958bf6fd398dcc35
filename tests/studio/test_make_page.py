"""The page that makes pictures: what it finds again, what it fills its form with, and what it offers."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.access.services import create_key
from api.images.models import GeneratedImage
from api.jobs.models import Job, PreviewWatch
from api.studio.jobs import MOST_ACTIVE
from tests.rows import PARAMS, make_job, make_picture

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
ERROR = {"code": "out_of_memory", "status": 507, "detail": "The memory was not enough."}


def front(client: Client, query: str = "") -> str:
    return client.get(f"/{query}").content.decode()


def test_it_is_there_where_people_look_for_it(here: Client) -> None:
    pages = [here.get(address) for address in ("/", "/studio/")]
    assert [(page.status_code, page.templates[0].name) for page in pages] == [(200, pages[0].templates[0].name)] * 2


# ---------------------------------------------------------------- jobs


def test_jobs_under_way_are_found_again_those_that_run_first(here: Client) -> None:
    running, queued = make_job("running", progress={"fraction": 0.5, "step": 1, "steps": 2}), make_job("queued", prompt="waits")
    others = make_job("queued", owner_key="somebody", prompt="somebody else's")
    page = front(here)
    assert page.index(f'id="job-{running.pk}"') < page.index(f'id="job-{queued.pk}"')
    assert "somebody else&#x27;s" not in page
    assert f"{others.pk}" not in page


def test_many_jobs_hold_two_streams_and_the_rest_is_counted(here: Client) -> None:
    for _ in range(MOST_ACTIVE + 3):
        make_job("queued")
    page = front(here)
    assert page.count("sse-connect=") == 2
    assert page.count('/card" hx-trigger="every 2s"') == MOST_ACTIVE - 2
    assert "3 more are under way" in page


def test_a_card_asks_for_its_news_and_for_previews_until_the_job_has_ended(here: Client) -> None:
    job = make_job("running")
    card = here.get(f"/studio/jobs/{job.pk}/card").content.decode()
    assert 'hx-trigger="every 2s"' in card
    assert PreviewWatch.objects.filter(job_id=job.pk).exists()
    made = make_picture()
    card = here.get(f"/studio/jobs/{made.job_id}/card").content.decode()
    assert "every 2s" not in card
    assert 'hx-swap-oob="afterbegin:#tiles"' in card


def test_the_time_that_is_left_is_told_once_it_can_be(here: Client) -> None:
    telling = make_job("running", progress={"fraction": 0.5, "step": 5, "steps": 10})
    Job.objects.filter(pk=telling.pk).update(started_at=telling.created_at)
    assert "left" in here.get(f"/studio/jobs/{telling.pk}/").content.decode()
    silent = make_job("running", progress={"fraction": 0.01, "step": 1, "steps": 100})
    assert " left" not in here.get(f"/studio/jobs/{silent.pk}/card").content.decode()


def test_a_failure_is_shown_until_it_is_tried_again(here: Client) -> None:
    failed = make_job("failed", error=ERROR)
    assert "The memory was not enough." in front(here)
    card = here.post(f"/studio/jobs/{failed.pk}/retry", headers=PART).content.decode()
    again = Job.objects.get(retry_of=failed)
    assert f'id="job-{again.pk}"' in card
    assert "The memory was not enough." not in front(here)


def test_without_scripts_a_retry_that_is_refused_is_a_whole_page(here: Client, settings: Any) -> None:
    failed = make_job("failed", error=ERROR)
    settings.MAX_QUEUED_JOBS = 0
    reply = here.post(f"/studio/jobs/{failed.pk}/retry").content.decode()
    assert "<html" in reply
    assert "The memory was not enough." not in reply
    assert 'role="alert"' in reply


def test_a_failure_is_shown_until_it_is_dismissed(here: Client) -> None:
    failed = make_job("failed", error=ERROR)
    here.post(f"/studio/jobs/{failed.pk}/dismiss", headers=PART)
    assert "The memory was not enough." not in front(here)


def test_one_who_may_only_look_tries_nothing_again(db: None) -> None:
    key, token = create_key(name="looks", scopes=["read"])
    failed = make_job("failed", error=ERROR, owner_key=key.prefix)
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.post(f"/studio/jobs/{failed.pk}/retry", headers=PART).status_code == 403


# ---------------------------------------------------------------- the form, filled in

FULL: dict[str, Any] = {
    **PARAMS,
    "model_id": "starter",
    "prompt_syntax": "plain",
    "tags": ["one", "two"],
    "hires": {"scale": 2.0, "strength": 0.5, "upscaler": "lanczos"},
    "loras": [{"id": "riso", "weight": 0.5}, {"id": "riso", "weight": 1.0, "unet": 0.2}],
}


def test_all_of_a_request_comes_back_and_is_sent_again(here: Client) -> None:
    picture = make_picture(make_job(params=FULL), seed=7)
    page = front(here, f"?again={picture.pk}")
    for shown in ('value="7"', 'value="one, two"', 'value="riso"', 'value="0.5"', "hires: ", "loras: "):
        assert shown in page, shown


def test_what_was_kept_is_part_of_the_request_unless_it_is_cleared(here: Client) -> None:
    form = {"prompt": "a lake", "model_id": "starter", "lora": ["riso", ""], "lora_weight": ["0.5", ""], "tags": "one, two"}
    here.post("/studio/generate", {**form, "kept": '{"upscale": {"scale": 2, "model_id": "lanczos"}}'}, headers=PART)
    params = Job.objects.get().params
    assert (params["loras"][0]["weight"], params["tags"]) == (0.5, ["one", "two"])
    assert params["upscale"] == {"scale": 2, "model_id": "lanczos"}


@pytest.mark.parametrize(
    ("sent", "place", "words"),
    [
        ({"lora": "no-such"}, "loras", "no-such"),
        ({"lora": "riso", "lora_weight": "9"}, "loras", "less than or equal to 2"),
        ({"tags": "x" * 51}, "tags", "50 characters"),
        ({"kept": '{"upscale": {"scale": 9}}'}, "form", "upscale.scale"),
    ],
)
def test_an_error_in_a_list_stands_at_its_place(here: Client, sent: dict[str, str], place: str, words: str) -> None:
    reply = here.post("/studio/generate", {"prompt": "a lake", "model_id": "starter", **sent}, headers=PART).content.decode()
    assert words in reply.split(f'id="error-{place}"')[1].split("</span>")[0]
    assert not Job.objects.exists()


@pytest.mark.parametrize("kept", ["{", "[]", '{"prompt": "other"}', '{"priority": 100}', "1"])
def test_nothing_else_comes_in_with_what_was_kept(here: Client, kept: str) -> None:
    here.post("/studio/generate", {"prompt": "a lake", "kept": kept}, headers=PART)
    job = Job.objects.get()
    assert (job.prompt, job.priority) == ("a lake", 0)


def test_a_job_fills_in_the_form_and_another_owner_s_does_not(db: None) -> None:
    key, token = create_key(name="mine")
    mine, other = make_job("failed", error=ERROR, owner_key=key.prefix, prompt="mine"), make_job(prompt="not mine")
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert ">mine</textarea>" in front(client, f"?job={mine.pk}")
    assert "not mine" not in front(client, f"?job={other.pk}")


def test_an_edited_picture_says_what_the_form_leaves_out(here: Client) -> None:
    edited = make_picture(origin=GeneratedImage.Origin.EDITED, strength=0.5)
    assert "This picture was made from another one." in front(here, f"?again={edited.pk}")


# ---------------------------------------------------------------- a picture's file


def png(**texts: str) -> SimpleUploadedFile:
    import io

    info, buffer = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (16, 16)).save(buffer, "PNG", pnginfo=info)
    return SimpleUploadedFile("a.png", buffer.getvalue(), "image/png")


def test_a_file_of_a1111_fills_in_the_form_and_what_is_not_here_is_said(here: Client) -> None:
    file = png(parameters="an old boat\nSteps: 12, Sampler: Euler a, CFG scale: 5, Seed: 99, Size: 64x64, Model: nowhereModel")
    page = here.post("/studio/read-picture", {"picture": file}, headers=PART).content.decode()
    for shown in (">an old boat</textarea>", 'value="99"', "model: “nowhereModel” is not here."):
        assert shown in page, shown
    assert "<!DOCTYPE" not in page


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"picture": png()}, "carries no parameters"),
        ({"picture": SimpleUploadedFile("a.png", b"rubbish", "image/png")}, "is no picture"),
        ({"picture": png(parameters="Steps: 3")}, ""),
        ({}, ""),
    ],
)
def test_a_file_that_says_nothing_is_a_sentence(here: Client, data: dict[str, Any], words: str) -> None:
    reply = here.post("/studio/read-picture", data, headers=PART)
    assert reply.status_code == 422 or words == ""
    assert words in reply.content.decode()
    assert reply.content


# ---------------------------------------------------------------- what is offered


def test_models_that_are_not_here_say_their_size_and_licence(here: Client) -> None:
    page = front(here)
    option = page.split('<option value="sdxl-base-1.0"')[1].split("</option>")[0]
    assert 'data-here=""' in option
    assert "GiB" in option
    assert 'data-here="yes"' in page.split('<option value="starter"')[1].split(">")[0]


def test_a_model_is_fetched_as_a_job_by_staff_alone(here: Client) -> None:
    reply = here.post("/studio/models/load", {"model_id": "sdxl-base-1.0"}, headers=PART)
    job = Job.objects.get()
    assert (job.kind, job.model_id, job.source) == ("load_model", "sdxl-base-1.0", "studio")
    assert f"job-{job.pk}" in reply.content.decode()
    assert here.post("/studio/models/load", {"model_id": "no-such"}, headers=PART).status_code == 422
    _, token = create_key(name="not staff")
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.post("/studio/models/load", {"model_id": "starter"}, headers=PART).status_code == 403


def test_earlier_prompts_are_those_of_one_s_own_each_once(here: Client) -> None:
    for prompt in ("a lake", "a house", "a lake"):
        make_job(prompt=prompt)
    make_job(prompt="a secret", owner_key="somebody")
    page = here.get("/studio/history").content.decode()
    assert page.count('data-prompt="a lake"') == 1
    assert page.index("a lake") < page.index("a house")
    assert "a secret" not in page
    assert "a lake" not in here.get("/studio/history?words=house").content.decode()
    assert "No prompt has these words." in here.get("/studio/history?words=zebra").content.decode()


def test_who_made_nothing_yet_gets_examples(here: Client) -> None:
    assert "a serene lake at sunset" in here.get("/studio/history").content.decode()


def test_tokens_are_counted_as_the_model_counts(here: Client) -> None:
    assert "tokens" in here.post("/studio/tokens", {"prompt": "a lake", "model_id": "starter"}).content.decode()
    assert here.post("/studio/tokens", {"prompt": "", "model_id": "no-such"}).status_code == 200


def test_a_choice_of_colours_comes_with_the_page(here: Client) -> None:
    here.cookies["theme"] = "dark"
    assert '<html lang="en" data-theme="dark">' in front(here)
    here.cookies["theme"] = '"><script>'
    assert '<html lang="en">' in front(here)
