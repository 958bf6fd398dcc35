"""A real server whose memory runs out in one chat: that one is told so, and all others are answered as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat.conftest import ask, data_url, picture
from tests.live import LiveServer
from tests.models.quantized import GROUP, requantize

pytestmark = pytest.mark.models
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
SHORT_SEED = 666
INJECTED = Path(__file__).parent / "short_of_memory"
QUANTIZED = '\n[models.{name}]\nname = "Packed"\nfamily = "llama"\ntask = "text-generation"\npath = "{path}"\n'


@pytest.fixture(scope="module")
def short_server(tmp_path_factory: pytest.TempPathFactory, chat_catalog: Path) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("short")
    llama = chat_catalog.parent / "llama"
    requantize(llama, folder / "packed", AWQ)
    requantize(llama, folder / "unread", {**AWQ, "version": "gemv"})
    tables = [QUANTIZED.format(name=name, path=folder / name) for name in ("packed", "unread")]
    (folder / "models.toml").write_text(chat_catalog.read_text() + "".join(tables))
    settings = {"CATALOG_EXTRA": folder / "models.toml", "DATABASE_URL": "", "DEVICE": "cpu", "PYTHONPATH": INJECTED}
    with LiveServer(folder / "data", **settings) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


def chat(server: LiveServer, text: str, **body: Any) -> httpx.Response:
    asked = {"model": "tiny-llama", "messages": ask(text), "temperature": 0, "max_tokens": 40, **body}
    return httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=120)


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_one_chat_s_shortage_is_its_own(short_server: LiveServer) -> None:
    texts = ("hello", "What is in this image?")
    alone = [text_of(chat(short_server, text)) for text in texts]
    with ThreadPoolExecutor(3) as pool:
        short = pool.submit(chat, short_server, texts[0], seed=SHORT_SEED, n=2, max_tokens=20)
        good = [pool.submit(chat, short_server, text) for text in texts]
    assert [text_of(each.result()) for each in good] == alone
    assert error_of(short.result()) == (507, "out_of_memory")
    assert text_of(chat(short_server, texts[0])) == alone[0]
    jobs = short_server.client.get("/api/jobs/?kind=chat&limit=100").json()["results"]
    assert {job["attempt"] for job in jobs} == {1}  # nobody began anew
    with httpx.stream(
        "POST",
        f"{short_server.url}/v1/chat/completions",
        json={"model": "tiny-llama", "messages": ask("hello"), "seed": SHORT_SEED, "max_tokens": 40, "stream": True},
        timeout=120,
    ) as stream:
        told = stream.read().decode()
    assert '"code":"out_of_memory"' in told.replace(" ", "")


def test_a_picture_that_can_t_be_read_for_want_of_memory_ends_its_chat(short_server: LiveServer) -> None:
    shown = data_url(picture())
    failed = chat(short_server, "", model="tiny/vlm", messages=ask("What is it?", shown, detail="high"))
    assert error_of(failed) == (507, "out_of_memory")
    assert text_of(chat(short_server, "", model="tiny/vlm", messages=ask("What is it?", shown, detail="low")))


def test_packed_weights_answer_and_those_that_can_t_be_read_are_refused(short_server: LiveServer) -> None:
    assert text_of(chat(short_server, "hello", model="packed"))
    refused = chat(short_server, "hello", model="unread")
    assert error_of(refused) == (422, "unsupported_checkpoint")
    assert "quantised by awq, packed as gemv" in refused.json()["error"]["message"]
