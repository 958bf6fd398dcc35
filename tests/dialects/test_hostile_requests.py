"""What no client should send, to every address of the dialects of a real server: JSON in that server's form, and never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.addresses import addresses, json_endpoints
from tests.api.bodies import png, text
from tests.live import LiveServer

FORMS: dict[tuple[str, ...], set[str]] = {
    ("/sdapi/", "/internal/", "/controlnet/"): {"error", "detail", "body", "errors"},
    ("/v1/", "/chat-server/"): {"error"},
    ("/hf/",): {"error", "error_type"},
    ("/generate", "/score", "/health"): {"detail"},
}
"""The keys of an error, by where it comes from."""
PREFIXES = tuple(prefix for prefixes in FORMS for prefix in prefixes)
ENVELOPE = {"message", "type", "param", "code"}
ASYNC = {"Prefer": "respond-async"}
JSON = {"Content-Type": "application/json", **ASYNC}
DEEP = b"[" * 100_000
PICTURE = text(png())
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "nothing": (b"", JSON),
    "no JSON": (b"{", JSON),
    "deep": (DEEP, JSON),
    "NaN": (b'{"seed": NaN, "steps": Infinity, "n": 1e999, "inputs": -Infinity}', JSON),
    "a number": (b"1" * 5000, JSON),
    "UTF-16": ('{"prompt": "a"}'.encode("utf-16"), JSON),
    "a BOM": (b'\xef\xbb\xbf{"prompt": "a"}', JSON),
    "no UTF-8": (b'{"prompt": "\xff\xfe"}', JSON),
    "a half pair": (b'{"prompt": "\\ud800", "inputs": "\\ud800", "messages": [{"role": "user", "content": "\\udfff"}]}', JSON),
    "NUL": (b'{"prompt": "a\\u0000", "inputs": "\\u0000", "image": "\\u0000", "model": "\\u0000", "force_task_id": "\\u0000"}', JSON),
    "twice": (b'{"prompt": "a", "prompt": ["b"], "inputs": {}, "inputs": []}', JSON),
    "wrong types": (
        json.dumps(
            {name: {"a": [None, {"b": 1}]} for name in ("prompt", "inputs", "parameters", "messages", "image", "model", "init_images",
             "webhook", "size", "override_settings", "alwayson_scripts", "controlnet_input_images", "imageList", "id_task", "variant")}
        ).encode(),
        JSON,
    ),
    "huge numbers": (
        json.dumps(dict.fromkeys(("seed", "steps", "width", "n", "batch_size", "threshold", "max_tokens"), 10**400)).encode(),
        JSON,
    ),
    "a form without a boundary": (b"x", {"Content-Type": "multipart/form-data", **ASYNC}),
    "a form that is cut off": (
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na', {"Content-Type": "multipart/form-data; boundary=x", **ASYNC},
    ),
    "a form of another time": (b"prompt=%ff&seed=", {"Content-Type": "application/x-www-form-urlencoded", **ASYNC}),
    "no media type": (b"{}", {"Content-Type": "; ; ;", **ASYNC}),
    "another charset": (b'{"prompt": "a"}', {"Content-Type": "application/json; charset=utf-7", **ASYNC}),
    "compressed": (b"\x1f\x8b\x08\x00", {**JSON, "Content-Encoding": "gzip"}),
    "a browser": (b"{}", {**JSON, "Accept": "text/html", "Origin": "https://evil.example"}),
    "strange preferences": (
        b'{"prompt": 1, "inputs": 1}',
        {**JSON, "Prefer": 'wait=1e999, respond-async; x="', "Idempotency-Key": "k" * 300},
    ),
    "a bomb": (json.dumps({"image": f"data:image/png;base64,{PICTURE[:60]}", "inputs": PICTURE[:60], "init_images": [PICTURE[:60]],
                           "controlnet_images": [PICTURE[:61]], "prompt": "a"}).encode(), JSON),
}  # fmt: skip
PATHS = ("%00", "%2e%2e/", "x" * 3000, "%ff", "?=", "?model=%00&include=base64&x[]=1", "a b", "%0d%0aX: y")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """No worker: what is taken stays in the queue."""
    with LiveServer(tmp_path_factory.mktemp("hostile"), DATABASE_URL="", JOB_RUNNER="external", MAX_UPLOAD_MB=1) as live:
        yield live


def check(reply: httpx.Response, what: str) -> None:
    """A page is never an answer here; a refusal is told in the form of the address."""
    path = reply.request.url.path
    asked = f"{reply.request.method} {path[:60]} ({what}): {reply.status_code} {reply.text[:200]!r}"
    known = reply.status_code < 500 or "Invalid encoded image" in reply.text or path.endswith("/health")  # no worker is alive
    assert known, asked
    is_picture = path.startswith("/hf/") and reply.status_code == 200
    if reply.request.method == "HEAD" or is_picture:
        return
    assert reply.headers["Content-Type"].startswith(("application/json", "text/event-stream")), asked
    if reply.status_code < 400:
        return
    told = json.loads(reply.content)
    [wanted] = [form for prefixes, form in FORMS.items() if path.startswith(prefixes)]
    assert told.keys() == wanted, asked
    if wanted == {"error"}:
        assert told["error"].keys() == ENVELOPE, asked


def requests() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """What is sent, for people; method, address and the rest."""
    ours = [address for address in addresses() if address.startswith(PREFIXES)]
    posts = [address for method, address in json_endpoints() if method == "post" and address.startswith(PREFIXES)]
    for place, address in enumerate(posts):
        for number, (what, (content, headers)) in enumerate(BODIES.items()):
            if (place + number) % 2:  # each body goes to half of them, and each of them gets half of the bodies
                yield what, "POST", address, {"content": content, "headers": headers}
    for address in ours:
        for method in ("HEAD", "PUT", "PROPFIND"):
            yield "another method", method, address, {"headers": ASYNC}
        yield "a key that is none", "GET", address, {"headers": {"Authorization": "Bearer \x7f" + "x" * 2000}}
        yield "another host", "POST", address, {"headers": {**JSON, "Host": "evil.example"}, "content": b"{}"}
    for prefix in (
        "/sdapi/v1/",
        "/internal/",
        "/controlnet/",
        "/v1/",
        "/v1/models/",
        "/v1/images/",
        "/hf/",
        "/hf/models/",
        "/chat-server/",
    ):
        for path in PATHS:
            yield "another path", "GET", prefix + path, {}
            yield "another path", "POST", prefix + path, {"headers": JSON, "content": b"{}"}


def test_whatever_is_sent_is_answered_in_its_servers_form(server: LiveServer) -> None:
    sent, failures = 0, []
    for what, method, address, rest in requests():
        reply = server.client.request(method, address, **rest)
        sent += 1
        try:
            check(reply, what)
        except (AssertionError, ValueError, KeyError) as error:
            failures.append(str(error).split("\n")[0][:400])
    assert not failures, f"{len(failures)} of {sent}:\n" + "\n".join(failures[:80])
    assert sent > 300
    assert "Traceback" not in server.log.read_text()
