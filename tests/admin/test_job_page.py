"""The admin's page of one job, and what a person may do with it."""

import re
import uuid
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from api.files.models import JobInput, StoredFile
from api.images.models import GeneratedImage
from api.jobs.models import Job, JobEvent
from tests.rows import PARAMS, make_contest, make_job, make_picture

pytestmark = pytest.mark.django_db


def address(job: Job, *rest: str) -> str:
    return "/".join(["/admin/jobs/job", str(job.pk), *(rest or ("change",)), ""])


def page_of(client: Client, job: Job) -> str:
    reply = client.get(address(job))
    assert reply.status_code == 200
    return reply.content.decode()


def act(client: Client, job: Job, name: str) -> object:
    return client.post(address(job, "act"), {"do": name}, follow=True)


def test_the_page_shows_what_was_asked_and_what_came_of_it(staff: Client) -> None:
    job = make_job(owner_key="a1b2c3d4", warnings=["Weights are random."])
    picture = make_picture(job)
    page = page_of(staff, job)
    for shown in (
        PARAMS["prompt"],
        "blurry",
        "guidance_scale",
        "a1b2c3d4",
        "Weights are random.",
        f"/api/images/{picture.pk}/thumbnail/",
    ):
        assert shown in page
    assert f"/admin/images/generatedimage/{picture.pk}/change/" in page


def test_timings_are_drawn_in_their_proportions(staff: Client) -> None:
    page = page_of(staff, make_job(timings={"load": 1.0, "denoise": 3.0}))
    assert '<rect class="series-0" x="0.0" y="0" width="150.0"' in page
    assert '<rect class="series-1" x="150.0" y="0" width="450.0"' in page


def test_candidates_are_told_in_a_sentence_a_strip_and_a_table(staff: Client) -> None:
    page = page_of(staff, make_contest())
    assert "The best of 3 by prompt match: 30.0, 5.0 above their mean (SD 5.0)." in page
    assert page.count("<circle class=") == 3
    assert page.count('class="kept"') == 2  # the dot and the row
    rows = [row.split("</tr>")[0] for row in page.split("<tbody>")[1].split("<tr")[1:]]
    assert [re.findall(r"<td>([\d.]+)", row) for row in rows] == [
        ["43", "30.0", "70.0"],
        ["44", "25.0", "70.0"],
        ["42", "20.0", "70.0"],
    ]


def test_all_candidates_are_seen_at_once_with_the_pictures_that_were_kept(staff: Client) -> None:
    job = make_contest()
    page = page_of(staff, job)
    assert "<details open><summary>All 3 candidates" in page
    table = page.split("<tbody>")[1].split("</tbody>")[0]
    assert table.count(f"/api/images/{job.images.get().pk}/thumbnail/") == 1
    assert table.count("not kept") == 2


def test_candidates_without_a_score_are_told_apart(staff: Client) -> None:
    assert "2 candidates; none of them could be ranked." in page_of(staff, make_contest(cosines=(None, None)))
    assert page_of(staff, make_contest(cosines=(None, 0.3))).count("<circle class=") == 1


def test_a_weighted_choice_shows_its_weights_and_its_own_score(staff: Client) -> None:
    page = page_of(staff, make_contest({"clip": 0.7, "layout": 0.3}))
    assert "by 0.7 × prompt match and 0.3 × layout, 0.70 above their mean (SD 0.70)." in page
    assert ">score</th>" in page


def test_a_job_that_chose_nothing_shows_no_candidates(staff: Client) -> None:
    assert "Candidates" not in page_of(staff, make_picture().job)


def test_an_error_is_told_in_plain_words(staff: Client) -> None:
    error = {"code": "out_of_memory", "status": 507, "detail": "The device has no memory left."}
    assert "The device has no memory left." in page_of(staff, make_job("failed", error=error))


def test_retries_are_linked_both_ways(staff: Client) -> None:
    first = make_job("failed", error={"code": "x", "status": 500, "detail": "x"})
    second = make_job(retry_of=first)
    assert address(second) in page_of(staff, first)
    assert address(first) in page_of(staff, second)


def test_an_unknown_job_is_not_found(staff: Client) -> None:
    assert staff.get(f"/admin/jobs/job/{uuid.uuid4()}/change/").status_code == 404
    assert staff.get("/admin/jobs/job/nonsense/change/").status_code == 404


def test_a_running_job_tells_its_step_and_asks_again(staff: Client) -> None:
    job = make_job("running", progress={"fraction": 0.4, "step": 8, "steps": 20})
    part = staff.get(address(job, "live"))
    assert "step 8 of 20" in part.content.decode()
    assert 'hx-trigger="every 1s"' in part.content.decode()
    assert "HX-Refresh" not in part.headers


def test_a_queued_job_tells_its_place(staff: Client) -> None:
    make_job("queued")
    assert "1 before it" in staff.get(address(make_job("queued"), "live")).content.decode()


def test_once_a_job_has_ended_the_whole_page_is_loaded_anew(staff: Client) -> None:
    part = staff.get(address(make_job(), "live"))
    assert part.headers["HX-Refresh"] == "true"
    assert "hx-get" not in part.content.decode()


# ---------------------------------------------------------------- actions


def test_retry_makes_a_new_job_with_the_same_parameters_for_the_same_owner(staff: Client) -> None:
    old = make_job("failed", owner_key="a1b2c3d4")
    act(staff, old, "retry")
    new = Job.objects.get(retry_of=old)
    assert (new.status, new.owner_key) == ("queued", "a1b2c3d4")
    assert {name: new.params[name] for name in old.params} == old.params  # what an older row lacks is added


def test_a_retried_job_keeps_its_source_picture(staff: Client) -> None:
    source = make_picture()
    old = make_job(kind="img2img", params={**PARAMS, "image": str(source.pk)})
    act(staff, old, "retry")
    assert JobInput.objects.get(job__retry_of=old).file_id == source.pk


def test_retry_works_on_many_from_the_list(staff: Client) -> None:
    jobs = [make_job("failed") for _ in range(3)]
    staff.post("/admin/jobs/job/", {"action": "retry", "_selected_action": [str(job.pk) for job in jobs]})
    assert Job.objects.filter(retry_of__in=jobs, status="queued").count() == 3


def test_cancel_ends_a_queued_job_and_asks_a_running_one(staff: Client) -> None:
    queued, running = make_job("queued"), make_job("running")
    staff.post("/admin/jobs/job/", {"action": "cancel", "_selected_action": [str(queued.pk), str(running.pk)]})
    queued.refresh_from_db()
    running.refresh_from_db()
    assert queued.status == "cancelled"
    assert (running.status, running.cancel_requested_at is None) == ("running", False)


def test_delete_asks_first(staff: Client) -> None:
    job = make_job()
    reply = act(staff, job, "remove")
    assert "This can&#x27;t be undone" in reply.content.decode() or "can't be undone" in reply.content.decode()
    assert Job.objects.filter(pk=job.pk).exists()


def confirm_removal(client: Client, job: Job) -> object:
    data = {"action": "remove", "confirmed": "yes", "_selected_action": [str(job.pk)]}
    return client.post("/admin/jobs/job/", data, follow=True)


def test_deleting_takes_the_events_the_pictures_and_their_files_along(
    staff: Client, django_capture_on_commit_callbacks: object
) -> None:
    picture = make_picture()
    JobEvent.objects.create(job=picture.job, sequence=1, type="status", data={})
    path = Path(settings.MEDIA_ROOT) / picture.file.name
    assert path.exists()
    with django_capture_on_commit_callbacks(execute=True):
        confirm_removal(staff, picture.job)
    assert not path.exists()
    assert [model.objects.count() for model in (Job, JobEvent, GeneratedImage, StoredFile)] == [0, 0, 0, 0]


def test_a_running_job_is_asked_to_stop_and_stays(staff: Client) -> None:
    job = make_job("running")
    reply = confirm_removal(staff, job)
    job.refresh_from_db()
    assert job.cancel_requested_at is not None
    assert "delete them once they have" in reply.content.decode()


def test_an_onlooker_sees_but_may_do_nothing(onlooker: Client) -> None:
    job = make_job("queued")
    assert 'value="cancel"' not in page_of(onlooker, job)
    assert onlooker.post(address(job, "act"), {"do": "cancel"}).status_code == 403
    job.refresh_from_db()
    assert job.status == "queued"


def test_who_may_not_see_jobs_gets_nothing_of_them(db: None) -> None:
    user = User.objects.create_user("other", password="a password", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_tag"))
    client = Client()
    client.force_login(user)
    job = make_job()
    assert [client.get(address(job, *rest)).status_code for rest in ((), ("live",))] == [403, 403]
