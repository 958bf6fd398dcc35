"""Chats that another server answers: another Darkroom, which speaks OpenAI's language as vLLM does, and servers that fail."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from api.chat.backends.remote_backend import RemoteBackend
from api.chat.backends.request import ChatRequest, MessagePart, Sampling, Turn
from api.errors import DarkroomError
from tests.chat.conftest import ask, data_url, picture
from tests.chat.test_torch_backend import RecordingCallbacks
from tests.live import LiveServer

SHORT: Any = {"model": "tiny-llama", "messages": ask("hello"), "temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, server: LiveServer, chat_catalog: Any) -> Iterator[LiveServer]:
    """A server without models of its own; what it is asked, `server` answers."""
    settings = {
        "USE_LOCAL_MODELS": "false",
        "HF_TOKEN": "none",
        "DEFAULT_IMAGE_MODEL": "stable-diffusion-v1-5",
        "LOAD_MODELS": "false",
        "CATALOG_EXTRA": chat_catalog,
        "CHAT_REMOTE_URL": f"{server.url}/v1",
        "CHAT_REMOTE_MODELS": "only-there",
        "DATABASE_URL": "",
    }
    with LiveServer(tmp_path_factory.mktemp("front"), **settings) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


@pytest.fixture
def sdk(front: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="x", max_retries=0, timeout=60) as sdk:
        yield sdk


@pytest.mark.models
def test_what_only_the_remote_server_has_is_a_model_like_any_other(sdk: openai.OpenAI) -> None:
    assert sdk.models.retrieve("only-there") in list(sdk.models.list())


@pytest.mark.models
def test_an_answer_is_passed_on_and_says_where_it_comes_from(sdk: openai.OpenAI, server: LiveServer) -> None:
    there = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x").chat.completions.create(**SHORT)
    here = sdk.chat.completions.create(**SHORT)
    assert here.choices[0].message.content == there.choices[0].message.content
    assert (here.backend, here.usage.total_tokens) == ("remote", there.usage.total_tokens)
    assert here.usage.prompt_tokens_details.cached_tokens == here.usage.prompt_tokens - 1  # the server there had just read them


@pytest.mark.models
def test_a_stream_is_passed_on(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(**SHORT, logprobs=True).choices[0]
    chunks = list(sdk.chat.completions.create(**SHORT, logprobs=True, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.message.content
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.models
def test_pictures_go_along(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(model="tiny/vlm", messages=ask("What?", data_url(picture())), max_tokens=2)
    assert reply.usage.prompt_tokens > 20


@pytest.mark.models
def test_tools_and_their_results_go_along_and_calls_come_back(sdk: openai.OpenAI) -> None:
    options: Any = {"model": "tiny-llama", "seed": 3, "temperature": 1, "max_tokens": 120, "parallel_tool_calls": False}
    tools: Any = [{"type": "function", "function": {"name": "wait", "parameters": {
        "type": "object", "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["days"],
        "additionalProperties": False,
    }}}]  # fmt: skip
    messages: list[Any] = ask("How long?")
    choice = sdk.chat.completions.create(messages=messages, tools=tools, tool_choice="required", **options).choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or []
    assert 1 <= json.loads(call.function.arguments)["days"] <= 9
    messages += [choice.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    named: Any = {"type": "function", "function": {"name": "wait"}}
    with sdk.chat.completions.stream(messages=messages, tools=tools, tool_choice=named, **options) as stream:
        again = stream.get_final_completion().choices[0]
    assert [one.function.name for one in again.message.tool_calls or []] == ["wait"]


@pytest.mark.models
def test_completions_and_biases_are_passed_on(sdk: openai.OpenAI, server: LiveServer) -> None:
    there = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x")
    options: Any = {"model": "tiny-llama", "max_tokens": 6, "seed": 2, "temperature": 1, "n": 2}
    for prompt, more in (
        ("a red", {"logprobs": 2}),
        ("a red", {"echo": True}),
        ([7, 8], {"logit_bias": {9: 100}, "best_of": 3}),
    ):
        one, other = (client.completions.create(prompt=prompt, **options, **more) for client in (there, sdk))
        assert other.choices == one.choices
        assert (other.usage.completion_tokens, other.backend) == (one.usage.completion_tokens, "remote")
    biased, plain = (sdk.chat.completions.create(**SHORT, logit_bias=bias).choices for bias in ({9: 100}, {}))
    assert biased[0].message.content != plain[0].message.content
    with pytest.raises(openai.BadRequestError, match="what runs elsewhere"):
        sdk.completions.create(prompt="a", model="tiny-llama", echo=True, logprobs=1)


@pytest.mark.models
def test_several_are_read_at_once(sdk: openai.OpenAI) -> None:
    texts: list[str] = []
    readers = [
        threading.Thread(target=lambda: texts.append(sdk.chat.completions.create(**SHORT).choices[0].message.content))
        for _ in range(6)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(texts) == 6
    assert len(set(texts)) == 1


@pytest.mark.models
def test_who_leaves_here_is_gone_there_too(sdk: openai.OpenAI, front: LiveServer, server: LiveServer) -> None:
    stream = sdk.chat.completions.create(**{**SHORT, "max_tokens": 900, "n": 8}, stream=True)
    next(iter(stream))
    stream.close()
    for live in (front, server):
        live.wait_until(lambda live=live: newest(live)["status"] == "cancelled", "the job is cancelled", seconds=10)


@pytest.mark.models
def test_what_is_too_long_there_is_too_long(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="The prompt is too long") as error:
        sdk.chat.completions.create(**{**SHORT, "messages": ask("a b c " * 600)})
    assert (error.value.code, error.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.models
def test_a_model_that_only_the_other_server_has_may_be_named(sdk: openai.OpenAI) -> None:
    assert "only-there" in {model.id for model in sdk.models.list()}
    with pytest.raises(openai.BadRequestError) as error:  # our own second server doesn't know it either
        sdk.chat.completions.create(model="only-there", messages=ask("hello"))
    assert error.value.code == "remote_model_unknown"


def newest(server: LiveServer) -> dict[str, Any]:
    return server.client.get("/api/jobs/?kind=chat&limit=1").json()["results"][0]


# ---------------------------------------------------------------- servers that fail


class Scripted(ThreadingHTTPServer):
    """Answers each request with the next of `answers`: a status, or a list of stream lines."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class ScriptedHandler(BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = self.server.answers.pop(0)
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Retry-After", "0")
        self.end_headers()
        if isinstance(answer, list):
            for chunk in answer:
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *arguments: Any) -> None:
        return


def chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "there", "choices": [choice]}


def ask_remote(url: str, timeout: float = 2, **sampling: Any) -> RecordingCallbacks:
    backend, heard = RemoteBackend(url=url, key="k", model="there", timeout=timeout), RecordingCallbacks()
    request = ChatRequest(model_id="x", turns=(Turn("user", (MessagePart(text="hi"),)),), sampling=Sampling(**sampling))
    backend.admit(request, heard)
    while backend.rows:
        backend.step()
    return heard


def code_of(heard: RecordingCallbacks) -> str:
    assert isinstance(heard.error, DarkroomError)
    return heard.error.code


def test_what_may_pass_is_tried_again() -> None:
    server = Scripted(503, 500, [chunk("hello", "stop")])
    heard = ask_remote(server.url, temperature=0.5, stop=("x",), top_k=3)
    assert heard.reply is not None
    assert heard.reply.choices[0].text == "hello"
    asked = server.asked[-1]
    assert (asked["temperature"], asked["stop"], asked["top_k"], asked["model"]) == (0.5, ["x"], 3, "there")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "remote_unauthorized"),
        (404, "remote_model_unknown"),
        (400, "remote_refused"),
        (500, "remote_failed"),
        (429, "remote_busy"),
    ],
)
def test_a_failure_is_told_in_our_own_words(status: int, code: str) -> None:
    assert code_of(ask_remote(Scripted(*[status] * 3).url)) == code


def test_a_server_that_is_not_there_is_unreachable() -> None:
    assert code_of(ask_remote("http://127.0.0.1:9/v1")) == "remote_unreachable"


def test_an_answer_that_breaks_off_is_an_error_and_no_answer() -> None:
    assert code_of(ask_remote(Scripted([chunk("hel")]).url)) == "remote_bad_answer"


def test_a_character_that_is_cut_between_two_pieces_is_whole_and_what_is_none_is_left_out() -> None:
    """As JavaScript cuts texts. PostgreSQL takes neither half of a pair nor NUL: the chat failed there, and those beside it."""
    pieces = ["a \ud83d", "\ude00 b", "\ud83d", " \ude00", "\x00c"]
    heard = ask_remote(Scripted([*map(chunk, pieces), chunk("", "stop")]).url)
    assert heard.reply is not None
    assert heard.reply.choices[0].text == heard.texts[0] == "a \U0001f600 b\ufffd \ufffdc"
