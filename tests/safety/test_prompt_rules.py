"""Rules for prompts: what they match, what becomes of the request, and what is recorded of it."""

import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from tokenizers import Tokenizer

from api.access.services import create_key
from api.chat.models import Conversation, Message
from api.images.spec import Txt2ImgSpec
from api.jobs.lifecycle import retry_job
from api.jobs.models import Job
from api.safety.models import PromptMatch, PromptRule
from api.safety.rules.matching import (
    TOO_SLOW,
    InvalidExpression,
    check_expression,
    compile_rule,
    readings,
)
from api.safety.rules.retention import delete_old_matches
from api.safety.rules.screening import active_rules, screen
from api.starter.architecture import WEIGHTS
from tests.rows import make_job

DATABASE = pytest.mark.django_db(transaction=True)
ASYNC = {"Prefer": "respond-async"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "a kni"}, {"type": "text", "text": "fe"}]}
PATHS = ("/api/txt2img/", "/generate", "/v1/chat/completions")


def find(syntax: str, expression: str, *texts: str) -> str | None:
    return compile_rule(syntax, expression).find(readings(texts))


# ---------------------------------------------------------------- what matches


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("knife", "A KNIFE on a table", "knife"),
        ("knife", "two penknifes", None),
        ("knif*", "two knives, one knife", "knife"),
        ("red dress", "a red\n dress", "red dress"),
        ("red dress", "a red, dress", None),
        ("red dress", "1girl, red_dress, smile", "red dress"),
        ("knife", "a (knife:1.3), ((knife))", "knife"),
        ("knife", "a kn(if)e", "knife"),
        ("knife", "a kni\u200bfe", "knife"),  # a zero-width space
        ("knife", "a ｋｎｉｆｅ", "knife"),  # full-width letters
        ("knife", "a kni\ufe0ffe", "knife"),  # a variation selector
        ("knife", "a k\u034fnife", "knife"),  # a grapheme joiner
        ("knife", "a kn\u3164ife", "knife"),  # a filler, which is a letter
        ("knife", "a kni\x01fe", "knife"),
        ("knife", "a kni\ue000fe", "knife"),  # for private use
        ("knife", "a k\u0336n\u0336i\u0336fe", "knife"),  # struck through
        ("knife", "A KN\u0130FE", "knife"),  # a Turkish capital
        ("knife", "a knif\u0435", "knife"),  # a Cyrillic е
        ("knife", "a knіfe", "knife"),  # a Ukrainian і
        ("нож", "острый н\u006fж", "нож"),  # a Latin o
        ("нож", "острый нож", "нож"),
        ("cop", "сор", None),  # a Russian word of letters that all look Latin
        ("straße", "in der STRASSE", "strasse"),
        ("bỏ", "con bò", None),  # another word, which differs in a diacritic alone
        ("刀", "一把刀在桌上", "刀"),
        ("c++", "a book on C++.", "c++"),
        ("c++", "a c++ book", "c++"),
        ("one\ntwo words\n\n", "has two  words", "two  words"),
    ],
)
def test_words_are_found_as_people_write_them(expression: str, text: str, found: str | None) -> None:
    matched = find("words", expression, text)
    assert (matched and " ".join(matched.split())) == (found and " ".join(found.split()))


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        (r"\b(kill|murder)s?\b.{0,20}\bchild", "He kills the child", "kills the child"),
        (r"\b(?:knife){e<=1}\b", "a knive", "knive"),
        (r"\d{4} \d{4}", "call 1234 5678", "1234 5678"),
        (r"knife", "a fork", None),
    ],
)
def test_patterns_are_found(expression: str, text: str, found: str | None) -> None:
    assert find("pattern", expression, text) == found


@pytest.mark.parametrize(
    ("syntax", "expression", "said"),
    [
        ("words", " \n ", "at least one word"),
        ("words", "*", "end of a word"),
        ("words", "a*b", "end of a word"),
        ("words", "* a", "end of a word"),
        ("pattern", "(", "no regular expression"),
        ("pattern", "a{2", ""),
        ("pattern", "a*", "matches every prompt"),
        ("pattern", "(a+)+$", "takes too long"),
        ("pattern", r"^(\w+\s?)*$", "matches every prompt"),
        ("pattern", r"(a|a)+$", "takes too long"),
    ],
)
def test_an_expression_that_can_not_be_used_is_refused_when_it_is_written(syntax: str, expression: str, said: str) -> None:
    if not said:
        check_expression(syntax, expression)
        return
    with pytest.raises(InvalidExpression, match=said):
        check_expression(syntax, expression)


def test_a_pattern_that_turns_out_slow_is_stopped_and_counts_as_a_match() -> None:
    matcher = compile_rule("pattern", r"(x+x+)+y")
    started = time.thread_time()
    assert matcher.find(readings(["x" * 5_000] * 20)) == TOO_SLOW
    assert time.thread_time() - started < 2.0  # 0.1 s and what its length allows


def test_many_words_are_read_quickly_in_a_long_text() -> None:
    matcher = compile_rule("words", "\n".join(f"word{number}" for number in range(1000)))
    text = readings(["nothing of that kind is in it " * 10_000])
    started = time.thread_time()
    assert matcher.find(text) is None
    assert time.thread_time() - started < 5.0


# ---------------------------------------------------------------- what becomes of a request


def make_rule(**fields: Any) -> PromptRule:
    rule = PromptRule(**{"name": "weapons", "expression": "knife", **fields})
    rule.full_clean()
    rule.save()
    return rule


def post(client: Client, prompt: str, path: str = "/api/txt2img/", **headers: str) -> Any:
    return client.post(path, {"prompt": prompt}, content_type="application/json", headers={**ASYNC, **headers})


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
def test_the_cells_of_a_grid_are_read(client: Client) -> None:
    make_rule()
    body = {"request": {"prompt": "a fork"}, "axes": [{"field": "prompt", "part": "fork", "values": ["spoon", "knife"]}]}
    reply = client.post("/api/grids/", body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (400, "prompt_refused")
    assert PromptMatch.objects.get().prompt == "a knife"


@DATABASE
@pytest.mark.parametrize(
    ("syntax", "prompt"),
    [
        ("a1111", "a kn(i:1.0)fe"),
        ("a1111", "a kn(if:1.2)e, a (table:1.1)"),
        ("a1111", "a kn[i|i]fe"),
        ("a1111", "a kn[i:i:0.5]fe"),
        ("a1111", "a kn[:ife:0.5]"),
        ("a1111", "a [spoon|kn[ife::9]] (shining:1.2)"),
        ("a1111", "a fork AND a kn[i|o]fe"),
        ("a1111", "a kni<hypernet:x:0>fe"),
        ("auto", "a kn(i:1.0)fe"),
        ("compel", "a (kn)1.0ife"),
        ("compel", "a (kn)1.3ife"),
    ],
)
def test_a_word_in_pieces_is_read_as_the_model_is_given_it(client: Client, syntax: str, prompt: str) -> None:
    make_rule()
    body = {"prompt": prompt, "prompt_syntax": syntax, "steps": 10}
    reply = client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (400, "prompt_refused")
    match = PromptMatch.objects.get()
    assert (match.matched, match.prompt) == ("knife", prompt.replace("<hypernet:x:0>", ""))


@DATABASE
@pytest.mark.parametrize(
    "more",
    [
        {"messages": [PARTS]},
        {"messages": [PARTS, {"role": "user", "content": "a kni\nfe"}]},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"type": "object", "properties": {"a": {"enum": ["a knife"]}}}},
            }
        },
    ],
    ids=["parts", "parts and the same in one", "schema"],
)
def test_a_chat_s_parts_are_read_together_and_the_form_of_its_answer_too(client: Client, more: dict[str, Any]) -> None:
    make_rule(requests="chats")
    body = {"model": "starter-vlm", "messages": [{"role": "user", "content": "Answer."}], **more}
    reply = client.post(PATHS[2], body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "content_policy_violation")


@DATABASE
def test_raw_prompts_are_read_as_chats_are_token_ids_too(client: Client) -> None:
    make_rule(requests="chats")
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "starter-vlm" / "tokenizer.json"))
    prompts: list[Any] = ["a knife", ["a table", tokenizer.encode("a knife", add_special_tokens=False).ids]]
    for prompt in prompts:
        body = {"prompt": prompt, "model": "starter-vlm"}
        reply = client.post("/v1/completions", body, content_type="application/json", headers=ASYNC)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (400, "content_policy_violation", "prompt")


@DATABASE
def test_what_is_left_out_of_a_picture_is_not_read(client: Client) -> None:
    make_rule()
    body = {"prompt": "a table", "negative_prompt": "knife"}
    assert client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC).status_code == 202


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
