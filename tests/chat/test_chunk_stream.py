"""What a stream says of events that come twice, differently, or not at all."""

import json
from typing import Any

import pytest

from api.dialects.openai.streaming import ChunkStream
from api.jobs.models import Job, JobEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream() -> ChunkStream:
    job = Job.objects.create(kind="chat", model_id="m", params={"backend": "pytorch"}, owner_key="local")
    return ChunkStream(Job.objects.get(pk=job.pk), None, include_usage=False)


def token(offset: int, text: str, index: int = 0) -> JobEvent:
    return JobEvent(type="token", data={"index": index, "offset": offset, "text": text})


def result(*texts: str) -> dict[str, Any]:
    choices = [{"text": text, "finish_reason": "stop", "completion_tokens": 1, "logprobs": None} for text in texts]
    return {"choices": choices, "usage": {}}


def hear(stream: ChunkStream, *events: JobEvent, end: dict[str, Any] | None = None) -> tuple[str, str]:
    """The text of choice 0, and how it ended."""
    lines = [line for event in events for line in stream.encode(event)]
    if end is not None and not stream.ended:
        Job.objects.filter(pk=stream.job_id).update(result=end)
        lines += stream.encode(JobEvent(type="result", data={}))
    said, last = "", ""
    for line in lines:
        last = line.decode().removeprefix("data: ").strip()
        chunk = json.loads(last) if last != "[DONE]" else {}
        said += "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", []) if choice["index"] == 0)
    return said, last if last == "[DONE]" else json.loads(last).get("error", {}).get("code", "")


def test_pieces_are_said_in_order_and_then_the_end(stream: ChunkStream) -> None:
    assert hear(stream, token(0, "ab"), token(2, "cd"), end=result("abcd")) == ("abcd", "[DONE]")


def test_an_answer_that_is_begun_anew_is_gone_on_with_where_it_was(stream: ChunkStream) -> None:
    events = [token(0, "ab"), token(2, "c"), token(0, "a"), token(1, "bcd"), token(4, "e")]
    assert hear(stream, *events, end=result("abcde")) == ("abcde", "[DONE]")


def test_an_answer_that_is_begun_anew_and_differs_breaks_off_with_an_error(stream: ChunkStream) -> None:
    assert hear(stream, token(0, "ab"), token(0, "ax"), end=result("axyz")) == ("ab", "interrupted")


def test_what_an_event_that_was_lost_had_is_said_at_the_end(stream: ChunkStream) -> None:
    assert hear(stream, token(0, "ab"), token(4, "ef"), end=result("abcdef")) == ("abcdef", "[DONE]")


def test_a_result_that_differs_from_what_was_said_is_an_error(stream: ChunkStream) -> None:
    assert hear(stream, token(0, "ab"), end=result("xy")) == ("ab", "interrupted")


def test_an_answer_without_a_word_has_its_end_all_the_same(stream: ChunkStream) -> None:
    assert hear(stream, end=result("")) == ("", "[DONE]")


def test_a_cancelled_job_ends_its_stream_with_an_error(stream: ChunkStream) -> None:
    assert hear(stream, token(0, "ab"), JobEvent(type="status", data={"status": "cancelled"})) == ("ab", "cancelled")


def test_a_failed_job_ends_its_stream_with_its_own_error(stream: ChunkStream) -> None:
    failed = JobEvent(type="error", data={"status": 507, "code": "out_of_memory", "detail": "Too large."})
    assert hear(stream, token(0, "ab"), failed) == ("ab", "out_of_memory")
