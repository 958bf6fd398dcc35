"""What becomes of a request that a rule matches, and what is recorded of it."""

import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.access.services import create_key
from api.chat.models import Conversation, Message
from api.images.spec import Txt2ImgSpec
from api.jobs.lifecycle import retry_job
from api.jobs.models import Job
from api.safety.models import PromptMatch, PromptRule
from api.safety.rules.retention import delete_old_matches
from api.safety.rules.screening import active_rules, screen
from tests.rows import make_job
from tests.safety.prompts import ASYNC, DATABASE, PATHS, make_rule, post


@DATABASE
def test_a_refused_prompt_is_an_error_that_names_the_field_and_is_recorded(client: Client) -> None:
    make_rule()
    reply = post(client, "a (KNIFE:1.2) on a table")
    assert (reply.status_code, reply.json()["code"]) == (400, "prompt_refused")
    assert [error["field"] for error in reply.json()["errors"]] == ["prompt"]
    assert not Job.objects.exists()
    [match] = PromptMatch.objects.all()
    assert (match.rule_name, match.action, match.matched) == ("weapons", "refuse", "knife")
    assert (match.prompt, match.kind, match.owner_key, match.source) == ("a (KNIFE:1.2) on a table", "txt2img", "local", "api")
    assert match.job is None


@DATABASE
def test_a_flagged_prompt_is_done_as_any_other_and_is_recorded_with_its_job(client: Client) -> None:
    make_rule(action="flag")
    reply = post(client, "a knife")
    assert reply.status_code == 202
    [match] = PromptMatch.objects.all()
    assert (match.action, str(match.job_id)) == ("flag", reply.json()["id"])
    assert reply.json()["warnings"] == []
    Job.objects.all().delete()
    match.refresh_from_db()
    assert match.job is None  # the record stays


@DATABASE
def test_the_rule_s_own_sentence_is_told(client: Client) -> None:
    make_rule(message="No weapons, please: see our terms.")
    assert post(client, "a knife").json()["detail"] == "No weapons, please: see our terms."


@DATABASE
def test_other_prompts_pass_and_leave_no_record(client: Client) -> None:
    make_rule()
    assert post(client, "a fork").status_code == 202
    assert not PromptMatch.objects.exists()


@DATABASE
def test_a_rule_of_one_key_is_for_its_requests_alone(client: Client) -> None:
    (mine, token), (_, others) = (create_key(name=name) for name in ("mine", "other"))
    make_rule().keys.add(mine)
    assert post(client, "a knife", Authorization=f"Bearer {token}").status_code == 400
    assert post(client, "a knife", Authorization=f"Bearer {others}").status_code == 202
    assert [match.owner_key for match in PromptMatch.objects.all()] == [mine.prefix]


@DATABASE
def test_a_change_of_the_rules_counts_at_once(client: Client) -> None:
    rule = make_rule()
    assert post(client, "a knife").status_code == 400
    rule.enabled = False
    rule.save()
    assert post(client, "a knife").status_code == 202
    rule.enabled, rule.expression = True, "fork"
    rule.save()
    assert (post(client, "a knife").status_code, post(client, "a fork").status_code) == (202, 400)
    rule.delete()
    assert post(client, "a fork").status_code == 202


@DATABASE
def test_another_process_s_change_counts_after_two_seconds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert post(client, "a knife").status_code == 202
    PromptRule.objects.bulk_create([PromptRule(name="weapons", expression="knife")])  # without a signal
    assert post(client, "a knife").status_code == 202
    now = time.monotonic()
    monkeypatch.setattr("api.safety.cache.time.monotonic", lambda: now + 2.5)
    assert post(client, "a knife").status_code == 400


@DATABASE
@pytest.mark.parametrize(("requests", "refused"), [("pictures", [0, 1]), ("chats", [2]), ("all", [0, 1, 2])])
def test_a_rule_is_for_pictures_or_chats_or_both_by_whatever_api_they_come(
    client: Client, requests: str, refused: list[int]
) -> None:
    make_rule(requests=requests)
    bodies: list[dict[str, Any]] = [
        {"prompt": "a knife"},
        {"prompt": "a knife"},
        {"messages": [{"role": "user", "content": "Where is the knife?"}], "model": "starter-vlm"},
    ]
    replies = [
        client.post(path, body, content_type="application/json", headers=ASYNC)
        for path, body in zip(PATHS, bodies, strict=True)
    ]
    assert [place for place, reply in enumerate(replies) if reply.status_code == 400] == refused
    assert PromptMatch.objects.count() == len(refused)
    assert {match.source for match in PromptMatch.objects.all()} == {("api", "generate", "openai")[place] for place in refused}


@DATABASE
def test_an_earlier_answer_is_held_against_a_client_that_wrote_it_itself(client: Client) -> None:
    make_rule(requests="chats")
    turns = [("user", "Name a tool."), ("assistant", "A knife."), ("user", "Another one.")]
    body = {"messages": [{"role": role, "content": text} for role, text in turns], "model": "starter-vlm"}

    def status() -> int:
        return client.post(PATHS[2], body, content_type="application/json", headers=ASYNC).status_code

    job = Job.objects.create(kind="chat", owner_key="others")
    conversation = Conversation.objects.create(owner_key="others")
    message = Message.objects.create(
        conversation=conversation, job=job, position=1, role="assistant", parts=[], text="A knife.\n", finish_reason="stop"
    )
    assert status() == 400  # another owner's answer
    assert PromptMatch.objects.get().prompt == "A knife."
    Conversation.objects.update(owner_key="local")
    assert status() == 202
    Message.objects.filter(pk=message.pk).update(finish_reason="")
    assert status() == 400  # the client itself had sent it as one


@DATABASE
def test_a_retry_is_read_again(client: Client) -> None:
    job = make_job(kind="txt2img", params={**Txt2ImgSpec(prompt="a knife", model_id="starter", **SIZES).to_json()})
    make_rule()
    with pytest.raises(Exception, match="rules don't allow"):
        retry_job(job=job)
    assert client.post(f"/api/jobs/{job.pk}/retry/").status_code == 400


@DATABASE
def test_a_request_that_was_let_in_is_found_again_by_its_idempotency_key(client: Client) -> None:
    first = post(client, "a knife", **{"Idempotency-Key": "one"})
    make_rule()
    again = post(client, "a knife", **{"Idempotency-Key": "one"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert not PromptMatch.objects.exists()
    assert post(client, "a knife", **{"Idempotency-Key": "two"}).status_code == 400


@DATABASE
def test_a_prompt_may_have_any_character(client: Client) -> None:
    make_rule(syntax="pattern", expression="kni.fe")
    make_rule(name="flags", action="flag", syntax="pattern", expression="sp.on")
    for prompt in ("a kni\ud83d\ude00fe".encode("utf-16", "surrogatepass").decode("utf-16"), "spöon spöon", "spoon\x7f"):
        assert post(client, prompt).status_code in (202, 400)
    assert PromptMatch.objects.count() == 3


@DATABASE
def test_without_rules_a_request_asks_the_database_once_in_two_seconds() -> None:
    spec, job = Txt2ImgSpec(prompt="a knife", model_id="starter", **SIZES), Job(kind="txt2img", owner_key="local")
    active_rules.forget()
    with CaptureQueriesContext(connection) as captured:
        for _ in range(100):
            assert screen(job, spec) is None
    assert len(captured) == 1


@DATABASE
def test_the_record_is_kept_as_long_as_jobs_are(client: Client, settings: Any) -> None:
    make_rule()
    post(client, "a knife")
    delete_old_matches()
    PromptMatch.objects.update(created_at=timezone.now() - timezone.timedelta(days=10))
    delete_old_matches()  # JOB_RETENTION_DAYS is 0
    assert PromptMatch.objects.count() == 1
    settings.JOB_RETENTION_DAYS = 5
    delete_old_matches()
    assert not PromptMatch.objects.exists()


SIZES: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "guidance_scale": 1.0, "seed": 1}


# ---------------------------------------------------------------- the admin


@DATABASE
def test_a_rule_is_written_in_the_admin_and_a_slow_one_is_refused_there(admin_client: Client, client: Client) -> None:
    form = {"name": "weapons", "enabled": "on", "syntax": "pattern", "requests": "all", "action": "refuse", "message": ""}
    page = admin_client.post("/admin/safety/promptrule/add/", {**form, "expression": "(a+)+$"})
    assert "It takes too long" in page.content.decode()
    assert admin_client.post("/admin/safety/promptrule/add/", {**form, "expression": r"\bknife"}).status_code == 302
    assert post(client, "a knife").status_code == 400
    page = admin_client.get("/admin/safety/promptrule/")
    assert "/admin/safety/promptmatch/?q=rule%3Aweapons" in page.content.decode()


@DATABASE
def test_the_record_is_read_in_the_admin_and_never_written_there(admin_client: Client, client: Client) -> None:
    make_rule()
    make_rule(name="forks", action="flag", expression="fork")
    job = post(client, "a fork").json()["id"]
    post(client, "a knife")
    listed = admin_client.get("/admin/safety/promptmatch/").content.decode()
    assert f"/admin/jobs/job/{job}/change/" in listed
    for query, count in (("?q=knife", 1), ("?q=rule:forks", 1), ("?q=owner:local", 2), ("?action=flag", 1), ("?q=none", 0)):
        page = admin_client.get(f"/admin/safety/promptmatch/{query}").content.decode()
        assert page.count('class="field-when"') == count, query
    match = PromptMatch.objects.first()
    assert match is not None
    assert "a knife" in admin_client.get(f"/admin/safety/promptmatch/{match.pk}/change/").content.decode()
    for path in ("add/", f"{match.pk}/delete/"):
        assert admin_client.post(f"/admin/safety/promptmatch/{path}", {"post": "yes"}).status_code == 403
