"""Chats in the studio without a browser: what is kept, what comes back, whose it is, and that an answer can do no harm."""

import html
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from pytest_django import DjangoAssertNumQueries

from api.access.principals import LOCAL
from api.access.services import create_key
from api.chat.models import Conversation, Message
from api.chat.partial_answers import keep_stopped_answer
from api.jobs.api.shared_reads import read_all
from api.jobs.kinds import get_kind
from api.jobs.lifecycle import cancel_job, claim_jobs, finish_job
from api.jobs.models import Job, JobEvent, Worker
from api.studio.chat.conversations import find_conversations
from api.studio.chat.markdown import render_markdown
from api.studio.chat.stream import AnswerStream
from tests.chat.conftest import ask as message

pytestmark = pytest.mark.django_db(transaction=True)
PART = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def png(side: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, "PNG")
    return buffer.getvalue()


def finish(text: str) -> Job:
    """Answers as a worker would."""
    [job] = claim_jobs(worker=Worker.objects.create(hostname="here", pid=1))
    choice = {"text": text, "finish_reason": "stop", "completion_tokens": 4, "logprobs": None}
    output = {
        "backend": "onnx", "model": "starter-vlm", "choices": [choice], "prompt_tokens": 10, "cached_tokens": 0, "dropped_tokens": 0,
        "first_token_seconds": 0.1, "seconds": 0.4,
    }  # fmt: skip
    finish_job(job=job, record=lambda row: get_kind("chat").record(row, output))
    return job


@pytest.fixture
def say(here: Client) -> Iterator[Callable[..., Conversation]]:
    """Asks on the page, in the newest conversation or a new one, and answers."""

    def send(text: str, answer: str | None = None, *, new: bool = False, **fields: Any) -> Conversation:
        current = None if new else Conversation.objects.order_by("-updated_at").first()
        body = {"text": text, "conversation": str(current.pk) if current else "", **fields}
        reply = here.post("/studio/chat/ask", body, headers=PART)
        assert reply.status_code == 200, reply.content
        assert "HX-Reswap" not in reply, reply.content
        if answer is not None:
            finish(answer)
        return Conversation.objects.order_by("-updated_at")[0]

    return send


def words(conversation: Conversation) -> list[str]:
    return list(conversation.messages.filter(active=True).values_list("text", flat=True))


def turn_ids(conversation: Conversation) -> list[str]:
    rows = conversation.messages.filter(active=True, role="user").order_by("position")
    return [str(job) for job in rows.values_list("job", flat=True)]


def test_a_question_with_pictures_and_settings_is_the_apis_request(here: Client) -> None:
    uploaded = here.post("/studio/chat/upload", {"picture": SimpleUploadedFile("a.png", png())}).json()["id"]
    body = {
        "text": "What?\r\nAnd why?", "picture": uploaded, "files": [SimpleUploadedFile("b.png", png(24))],
        "system": "Be brief.", "temperature": "0.5", "max_tokens": "20",
    }  # fmt: skip
    reply = here.post("/studio/chat/ask", body)
    conversation = Conversation.objects.get()
    assert reply["Location"] == f"/studio/chat/{conversation.pk}/#end"
    params = Job.objects.get().params
    assert (params["temperature"], params["max_tokens"]) == (0.5, 20)
    system, question = params["messages"]
    assert system == {"role": "system", "parts": [{"type": "text", "text": "Be brief."}]}
    assert [part["type"] for part in question["parts"]] == ["image", "image", "text"]
    assert question["parts"][2]["text"] == "What?\nAnd why?"
    finish("Because.")
    page = here.get(f"/studio/chat/{conversation.pk}/").content.decode()
    assert page.count("/thumbnail/") >= 4  # in the message, and to be kept in another version of it
    assert "10 tokens read, 4 written · 10.0 tokens/s" in page
    assert 'value="0.5"' in page


@pytest.mark.parametrize(
    ("fields", "place", "sentence"),
    [
        ({"text": " "}, "text", "Write something first."),
        ({"temperature": "hot"}, "temperature", "A valid number is required."),
        ({"max_tokens": "0"}, "max_tokens", "greater than or equal to 1"),
        ({"model": "nobody"}, "form", "There is no model"),
        ({"picture": "0197c0de-0000-7000-8000-000000000000"}, "pictures", "There is no image with this id."),
        ({"files": [SimpleUploadedFile("a.png", b"no picture")]}, "pictures", "image"),
        ({"text": "x" * 400_001}, "text", "400001 characters"),
        ({"text": "a\0b"}, "text", "can&#x27;t be kept"),
    ],
)
def test_what_is_wrong_is_said_in_its_place_and_what_was_typed_stays(
    here: Client, fields: dict[str, Any], place: str, sentence: str
) -> None:
    body = {"text": "my question", **fields}
    page = here.post("/studio/chat/ask", body)
    assert page.status_code == 422
    error = re.search(rf'id="error-chat-{place}"[^>]*>([^<]*)<', page.content.decode())
    assert error is not None
    assert sentence in error[1]
    if len(body["text"]) < 100:
        assert f">{html.escape(body['text'])}</textarea>" in page.content.decode()
    for upload in body.get("files", []):
        upload.seek(0)
    part = here.post("/studio/chat/ask", body, headers=PART)
    assert (part.status_code, part["HX-Reswap"]) == (200, "none")
    assert sentence in part.content.decode()
    assert Job.objects.count() == 0


def test_a_conversation_that_waits_and_one_that_is_gone_say_so(here: Client, say: Callable[..., Conversation]) -> None:
    conversation = say("one")
    reply = here.post("/studio/chat/ask", {"text": "two", "conversation": str(conversation.pk)}, headers=PART)
    assert "waits for an answer already" in reply.content.decode()
    finish("first")
    here.post("/studio/chat/delete", {"ids": str(conversation.pk)})
    assert Conversation.objects.count() == 0
    reply = here.post("/studio/chat/ask", {"text": "two", "conversation": str(conversation.pk)}, headers=PART)
    assert ("This conversation was deleted." in reply.content.decode(), "darkroom:gone" in reply["HX-Trigger"]) == (True, True)


# ---------------------------------------------------------------- branches


def test_a_question_asked_anew_is_a_branch_and_the_earlier_one_can_be_gone_on_with(
    here: Client, say: Callable[..., Conversation]
) -> None:
    say("one", "first", system="Be kind.")
    say("two", "second")
    conversation = say("three", "third")
    one, two, _ = turn_ids(conversation)
    say("two anew", "another second", turn=two)
    assert words(conversation) == ["Be kind.", "one", "first", "two anew", "another second"]
    say("four", "fourth")
    page = here.get(f"/studio/chat/{conversation.pk}/").content.decode()
    assert re.findall(r"<span>(\d/\d)</span>", page) == ["2/2"]
    earlier = Message.objects.get(text="two")
    here.post(f"/studio/chat/{conversation.pk}/branch", {"message": earlier.pk})
    assert words(conversation) == ["Be kind.", "one", "first", "two", "second", "three", "third"]
    say("five", "fifth")
    job = Job.objects.order_by("-pk")[0]
    told = [turn["parts"][0]["text"] for turn in job.params["messages"]]
    assert told == ["Be kind.", "one", "first", "two", "second", "three", "third", "five"]
    say("", "first again", turn=one, again="yes")  # with its system prompt, and no other words of the box
    assert words(conversation) == ["Be kind.", "one", "first again"]
    here.post(f"/studio/chat/{conversation.pk}/branch", {"message": Message.objects.filter(text="Be kind.")[0].pk})
    assert words(conversation)[-2:] == ["five", "fifth"]  # down to the newest end


def test_the_api_shows_the_branch_that_goes_on_and_begins_others(here: Client, say: Callable[..., Conversation]) -> None:
    say("one", "first")
    conversation = say("two", "second")
    body = {"messages": message("two anew"), "conversation": str(conversation.pk), "replace_from": 2}
    headers = {"Prefer": "respond-async"}
    assert here.post("/v1/chat/completions", body, "application/json", headers=headers).status_code == 202
    finish("another second")
    shown = here.get(f"/api/conversations/{conversation.pk}/").json()
    texts = [one["parts"][0]["text"] for one in shown["messages"]]
    assert texts == ["one", "first", "two anew", "another second"]
    assert here.get("/api/conversations/").json()["results"][0]["message_count"] == 4
    history = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, texts, strict=True)]
    body = {"messages": [*history, *message("three")]}  # a client that knows of no conversations goes on with this branch
    here.post("/v1/chat/completions", body, "application/json", headers=headers)
    assert words(conversation)[-1] == "three"
    for fields in ({"replace_from": 99}, {"replace_from": 1}, {"replace_from": 0, "conversation": None}):
        wrong = {"messages": message("x"), "conversation": str(conversation.pk), **fields}
        reply = here.post("/v1/chat/completions", wrong, "application/json")
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "replace_from")


def test_when_the_jobs_of_the_branch_that_goes_on_are_deleted_another_one_does(say: Callable[..., Conversation]) -> None:
    conversation = say("one", "first")
    say("one anew", "another first", turn=turn_ids(conversation)[0])
    Job.objects.order_by("-pk")[0].delete()
    assert words(conversation) == ["one", "first"]
    Job.objects.get().delete()
    assert Conversation.objects.count() == 0


# ---------------------------------------------------------------- answers under way


def emit(job: Job, offset: int, text: str) -> None:
    number = (JobEvent.objects.filter(job=job).order_by("-sequence").values_list("sequence", flat=True).first() or 0) + 1
    JobEvent.objects.create(job=job, sequence=number, type="token", data={"index": 0, "offset": offset, "text": text})


def test_a_reload_shows_what_was_said_so_far_and_the_stream_goes_on_behind_it(
    here: Client, say: Callable[..., Conversation]
) -> None:
    conversation = say("one")
    [job] = claim_jobs(worker=Worker.objects.create(hostname="here", pid=1))
    emit(job, 0, "An answer 🍕 of an attempt")
    emit(job, 0, "Once 🍕 more")
    page = here.get(f"/studio/chat/{conversation.pk}/").content.decode()
    assert ">Once 🍕 more</p>" in page
    after = int(re.search(r'data-after="(\d+)"', page)[1])  # type: ignore[index]
    emit(job, 11, ", and on\n")
    stream = AnswerStream(job.pk, after, may_change=True)
    [chunks] = read_all([stream])
    assert not isinstance(chunks, Exception)
    [first] = [part.decode() for part in chunks if b"event: text" in part]
    assert '{"offset": 11, "text": ", and on\\n"}' in first
    assert f"id: {after + 1}\n" in first


def test_what_a_stopped_answer_had_said_is_kept_and_told_to_the_model(here: Client, say: Callable[..., Conversation]) -> None:
    conversation = say("one")
    [job] = claim_jobs(worker=Worker.objects.create(hostname="here", pid=1))
    emit(job, 0, "Half an ans")
    cancel_job(job=job)
    Job.objects.filter(pk=job.pk).update(status="cancelled")
    page = here.get(f"/studio/chat/{conversation.pk}/").content.decode()
    assert ("Half an ans" in page, "Stopped here." in page) == (True, True)
    assert keep_stopped_answer(Job.objects.get(pk=job.pk)) == Message.objects.get(finish_reason="cancelled")
    JobEvent.objects.all().delete()  # as retention does, hours later
    assert "Half an ans" in here.get(f"/studio/chat/{conversation.pk}/").content.decode()
    say("go on")
    assert len(Job.objects.order_by("-pk")[0].params["messages"]) == 3


# ---------------------------------------------------------------- answers are hostile

ATTACKS = """<script>alert(1)</script> <img src=x onerror=alert(1)> ![x](https://evil.example/x.png) <iframe src=//evil.example></iframe>
[a](javascript:alert(1)) [b](JaVaScRiPt&colon;alert(1)) [c](data:text/html,<script>) [d](vbscript:x) <javascript:alert(1)>
[e](https://ok.example "t\\" onmouseover=alert(1)") <a href="x" style="x" onclick="alert(1)">f</a> <svg onload=alert(1)>
```html" onclick="alert(1)
</code></pre><script>alert(1)</script>
```
| a |
|:-:|
| <b onmouseover=alert(1)>x</b> |

[ref]: javascript:alert(1)
[ref] &lt;script&gt;"""
ALLOWED_TAG = re.compile(
    r'</?(?:p|br|code|div|table|thead|tbody|tr|th|td|pre)>|<pre tabindex="0">|<div class="(?:code"|wide" tabindex="0")>|</a>'
    r'|<button class="plain small" type="button" data-copy>|</button>'
    r'|<a href="https://[a-z./]+"(?: title="[^"<>]*")?(?: target="_blank"| rel="noopener noreferrer nofollow"){2}>'
)


def test_an_answer_can_bring_no_tag_attribute_or_address_of_its_own() -> None:
    found = str(render_markdown(ATTACKS))
    left = ALLOWED_TAG.sub("", found)
    assert "<" not in left, left
    attributes = " ".join(re.findall(r"<[a-z][^>]*>", re.sub(r'title="[^"]*"', "", found)))
    assert not re.search(r"javascript|vbscript|data:|\son\w+|style|src", attributes, re.IGNORECASE), attributes


def test_what_markdown_is_for_comes_out() -> None:
    found = str(
        render_markdown(
            "# T\n\n**b** `c`\nline\n\n1. x\n\n```py\na < b\n\nc\n```\n\n| a |\n|--|\n| 1 |\n\nhttps://x.example ~~s~~"
        )
    )
    for part in (
        "<h1>T</h1>",
        "<strong>b</strong>",
        "<code>c</code><br>",
        "<li>x</li>",
        "a &lt; b\n\nc",
        "<td>1</td>",
        "<s>s</s>",
    ):
        assert part in found, found


# ---------------------------------------------------------------- the list, and whose it is


def test_the_list_is_searched_renamed_and_deleted(here: Client, say: Callable[..., Conversation]) -> None:
    say("What is a lake?", "Water under the sky.")
    hill = say("And a hill?", "Earth.", new=True)
    listed = here.get("/studio/chat/list?q=SKY lake", headers=PART).content.decode()
    assert (listed.count("data-conversation"), "What is a lake?" in listed) == (1, True)
    assert here.post(f"/studio/chat/{hill.pk}/rename", {"title": " My \n hills "}).status_code == 302
    assert "My hills" in here.get("/studio/chat/?q=hills").content.decode()
    assert here.post(f"/studio/chat/{hill.pk}/rename", {"title": " "}, headers=PART).status_code == 422
    say("again", None)  # in the newest, which is under way
    busy = here.post("/studio/chat/delete", {"ids": str(hill.pk)}, headers=PART)
    assert (busy.status_code, Conversation.objects.count()) == (200, 1)  # what waits is cancelled, and goes


def test_pages_follow_one_another_without_gaps(here: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    Conversation.objects.bulk_create(Conversation(owner_key=LOCAL.owner_key, title=f"talk {number}") for number in range(95))
    Conversation.objects.create(owner_key="somebody", title="secret")
    seen, after = [], ""
    for count in (1, 2, 2):
        with django_assert_num_queries(count):
            page = find_conversations(LOCAL, "talk", after)
        seen += [row.title for row in page.rows]
        after = page.next
    assert (len(seen), len(set(seen)), after) == (95, 95, "")


def test_what_is_anothers_is_not_there(client: Client) -> None:
    _, owner = create_key(name="the owner")
    _, other = create_key(name="another")
    theirs, ours = ({"Authorization": f"Bearer {token}"} for token in (other, owner))
    assert client.post("/studio/chat/ask", {"text": "secret"}, headers=ours).status_code == 302
    job = finish("whispered")
    conversation = Conversation.objects.get()
    address = f"/studio/chat/{conversation.pk}/"
    assert "secret" in client.get(address, headers=ours).content.decode()
    number = Message.objects.get(role="assistant").pk
    assert "whispered" in client.get(f"/?answer={number}", headers=ours).content.decode()
    assert "whispered" not in client.get(f"/?answer={number}", headers=theirs).content.decode()
    assert client.get(address, headers=theirs).status_code == 404
    assert "secret" not in client.get("/studio/chat/", headers=theirs).content.decode()
    assert client.get(f"/studio/chat/answers/{job.pk}/stream", headers=theirs).status_code == 404
    for name, fields in (("rename", {"title": "x"}), ("branch", {"message": number})):
        assert client.post(f"{address}{name}", fields, headers=theirs).status_code == 404
    client.post("/studio/chat/delete", {"ids": str(conversation.pk)}, headers=theirs)
    body = {"text": "x", "conversation": str(conversation.pk)}
    assert "was deleted" in client.post("/studio/chat/ask", body, headers=theirs).content.decode()
    conversation.refresh_from_db()
    assert (conversation.title, Job.objects.count()) == ("secret", 1)
    _, reader = create_key(name="a reader", scopes=["read"])
    headers = {"Authorization": f"Bearer {reader}"}
    assert "composer" not in client.get("/studio/chat/", headers=headers).content.decode()
    assert client.post("/studio/chat/ask", {"text": "x"}, headers=headers).status_code == 403
