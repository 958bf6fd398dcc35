"""The prompt box: who may use it, what it makes, and how it says what is wrong."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client

from api.jobs.models import Job
from tests.rows import make_contest, make_job, make_picture

pytestmark = pytest.mark.django_db
GENERATE = "/studio/generate"
PART = {"HX-Request": "true"}
LOGIN = "/studio/login?next=%2F"


def test_the_front_page_is_open_on_ones_own_machine(here: Client) -> None:
    page = here.get("/").content.decode()
    assert '<textarea id="prompt"' in page
    assert '<option value="starter"' in page


def test_a_prompt_makes_a_job_with_what_the_model_decides(here: Client) -> None:
    reply = here.post(GENERATE, {"prompt": "a lake", "model_id": "starter", "steps": "", "seed": "", "width": ""}, headers=PART)
    job = Job.objects.get()
    assert (job.kind, job.status, job.owner_key, job.params["prompt"]) == ("txt2img", "queued", "local", "a lake")
    assert job.params["steps"] > 0
    assert f'sse-connect="/studio/jobs/{job.pk}/stream"' in reply.content.decode()


def test_what_was_given_is_used(here: Client) -> None:
    given = {
        "prompt": "a lake",
        "negative_prompt": "blurry",
        "steps": "7",
        "guidance_scale": "2.5",
        "seed": "42",
        "num_images": "3",
    }
    here.post(GENERATE, {**given, "width": "128", "height": "192", "scheduler": "euler"}, headers=PART)
    params = Job.objects.get().params
    assert {name: str(params[name]) for name in given} == given
    assert (params["width"], params["height"], params["scheduler"]) == (128, 192, "euler")


def test_the_best_of_several_is_asked_for(here: Client) -> None:
    here.post(GENERATE, {"prompt": "a lake", "best_of": "5", "num_images": "2", "rank_by": "layout"}, headers=PART)
    params = Job.objects.get().params
    assert (params["best_of"], params["num_images"], params["rank_by"]) == (5, 2, "layout")


def test_a_choice_shows_its_candidates_and_the_chosen_one_s_score(here: Client) -> None:
    page = here.get(f"/studio/jobs/{make_contest().pk}/").content.decode()
    assert "The best of 3 by prompt match: 30.0" in page
    assert "All 3 candidates" in page


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("best_of", "65", "less than or equal to 64"),
        ("rank_by", "layout", "without best_of"),
        ("prompt", "  ", "may not be blank"),
        ("width", "100", "multiple of 8"),
        ("steps", "0", "greater than or equal to 1"),
        ("seed", "x", "valid integer"),
        ("guidance_scale", "nan", "valid number"),
        ("model_id", "../etc/passwd", "passwd"),
        ("scheduler", "eulr", "Did you mean"),
    ],
)
def test_an_error_stands_next_to_its_field(here: Client, field: str, value: str, words: str) -> None:
    reply = here.post(GENERATE, {"prompt": "a lake", field: value}, headers=PART)
    slot = reply.content.decode().split(f'id="error-{field}"')[1].split("</span>")[0]
    assert words in slot
    assert 'hx-swap-oob="true"' in slot
    assert reply.headers["HX-Reswap"] == "none"
    assert not Job.objects.exists()


def test_a_good_request_clears_the_errors_of_the_one_before(here: Client) -> None:
    reply = here.post(GENERATE, {"prompt": "a lake"}, headers=PART)
    assert '<span class="error" id="error-width" role="alert" hx-swap-oob="true"></span>' in reply.content.decode()


def test_a_full_queue_is_told_in_words(here: Client, settings: object) -> None:
    settings.MAX_QUEUED_JOBS = 1
    make_job("queued")
    reply = here.post(GENERATE, {"prompt": "a lake"}, headers=PART)
    assert "The queue is full" in reply.content.decode()


def test_without_scripts_one_is_led_to_the_jobs_page(here: Client) -> None:
    reply = here.post(GENERATE, {"prompt": "a lake"}, follow=True)
    job = Job.objects.get()
    assert reply.redirect_chain == [(f"/studio/jobs/{job.pk}/", 302)]
    assert '<noscript><meta http-equiv="refresh"' in reply.content.decode()


def test_without_scripts_an_error_comes_with_all_that_was_typed(here: Client) -> None:
    reply = here.post(GENERATE, {"prompt": "a lake", "width": "100"})
    page = reply.content.decode()
    assert reply.status_code == 422
    assert ">a lake</textarea>" in page
    assert "multiple of 8" in page


def test_a_picture_is_made_again_with_its_seed_or_with_a_new_one(here: Client) -> None:
    picture = make_picture(seed=4242, steps=9)
    again, anew = here.get(f"/?again={picture.pk}").content.decode(), here.get(f"/?again={picture.pk}&new").content.decode()
    assert 'name="seed" value="4242"' in again
    assert 'name="seed" value=""' in anew
    assert 'name="steps" min="1" max="150" value="9"' in anew
    assert "a red circle above a blue square</textarea>" in anew


@pytest.mark.parametrize("again", ["nonsense", "0197c0de-0000-7000-8000-000000000000", ""])
def test_nothing_to_make_again_gives_the_empty_form(here: Client, again: str) -> None:
    assert here.get(f"/?again={again}").status_code == 200


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    "address",
    ["/", "/studio/images/", "/studio/jobs/0197c0de-0000-7000-8000-000000000000/", "/studio/gallery/?q=a lake&favourite=yes"],
)
def test_a_stranger_is_led_to_the_login_and_back_to_where_they_were(stranger: Client, address: str) -> None:
    reply = stranger.get(address)
    assert reply.status_code == 302
    assert parse_qs(urlsplit(reply.headers["Location"]).query) == {"next": [address.replace(" ", "%20")]}


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://testserver/studio/gallery/?q=lake", "%2Fstudio%2Fgallery%2F%3Fq%3Dlake"),
        ("http://elsewhere.example/studio/gallery/", "%2F"),
        ("javascript:alert(1)", "%2F"),
    ],
)
def test_one_whose_login_ended_meanwhile_comes_back_to_the_same_page_of_this_server(
    stranger: Client, referer: str, back: str
) -> None:
    reply = stranger.post("/studio/gallery/change", {"action": "delete"}, headers={**PART, "Referer": referer})
    assert reply.headers["HX-Redirect"] == f"/studio/login?next={back}"


def test_a_stranger_makes_nothing(stranger: Client) -> None:
    assert stranger.post(GENERATE, {"prompt": "a lake"}).headers["Location"] == LOGIN
    assert stranger.post(GENERATE, {"prompt": "a lake"}, headers=PART).headers["HX-Redirect"] == LOGIN
    assert not Job.objects.exists()


def test_a_person_who_is_logged_in_makes_pictures(person: Client) -> None:
    assert person.get("/").status_code == 200
    person.post(GENERATE, {"prompt": "a lake"}, headers=PART)
    assert Job.objects.get().owner_key.startswith("user:")


def test_a_login_that_is_not_staff_is_not_enough(stranger: Client) -> None:
    stranger.force_login(User.objects.create_user("guest"))
    assert stranger.get("/").headers["Location"] == LOGIN


def test_a_form_of_another_site_is_refused(admin_user: object) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    assert browser.post(GENERATE, {"prompt": "a lake"}, headers=PART).status_code == 403
    refused = browser.post(GENERATE, {"prompt": "a lake"})
    assert refused.status_code == 403
    assert "load it again" in refused.content.decode()
    assert not Job.objects.exists()


def test_another_origin_is_refused_on_ones_own_machine_too(here: Client) -> None:
    assert here.post(GENERATE, {"prompt": "a lake"}, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert not Job.objects.exists()


# ---------------------------------------------------------------- cancel


def test_cancel_ends_a_waiting_job(here: Client) -> None:
    job = make_job("queued")
    reply = here.post(f"/studio/jobs/{job.pk}/cancel", headers=PART)
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert "Cancelled" in reply.content.decode()


def test_cancel_asks_a_running_job_to_stop(here: Client) -> None:
    job = make_job("running")
    assert "Stopping at its next step" in here.post(f"/studio/jobs/{job.pk}/cancel", headers=PART).content.decode()


@pytest.mark.parametrize(
    ("status", "fields", "words"),
    [
        ("failed", {"error": {"code": "x", "status": 507, "detail": "No memory left."}}, "No memory left."),
        ("cancelled", {}, "Cancelled."),
        ("running", {"progress": {"fraction": 0.5, "step": 10, "steps": 20}}, "Step 10 of 20"),
        ("running", {"progress": {"fraction": 0.0004, "step": 1, "steps": 150}}, "Step 1 of 150"),
        ("running", {}, "Getting the model ready"),
        ("queued", {}, "Next in the queue"),
    ],
)
def test_the_page_of_a_job_says_how_it_stands(here: Client, status: str, fields: dict, words: str) -> None:
    assert words in here.get(f"/studio/jobs/{make_job(status, **fields).pk}/").content.decode()
