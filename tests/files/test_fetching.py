"""The fetcher against a real server on this machine, whose address these tests allow."""

import socket
import time
from collections.abc import Iterator

import pytest

from api.files.errors import InvalidImage
from api.files.fetching import fetch_url
from tests.site import Site, SiteHandler

BODY = b"0123456789" * 1000


class Pages(SiteHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        getattr(self, "page_" + self.path.split("?")[0].strip("/"))()

    def page_fine(self) -> None:
        self.answer(200, BODY)

    def page_missing(self) -> None:
        self.answer(404, b"")

    def page_moved(self) -> None:
        self.answer(302, Location="/fine")

    def page_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:100])

    def page_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(BODY)

    def page_silent(self) -> None:
        self.server.stop.wait(30)

    def page_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.stop.wait(0.05):
            self.wfile.write(b"x")

    def page_dripping_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.stop.wait(0.05):
            self.wfile.write(b"X-Y: z\r\n")

    def page_garbage(self) -> None:
        self.wfile.write(b"\x00\xff not http\r\n\r\n")


class Server(Site):
    def __init__(self) -> None:
        super().__init__(Pages)
        self.seen: list[tuple[str, dict[str, str]]] = []


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def is_this_machine(address: str) -> bool:
    return address == "127.0.0.1"


def fetch(server: Server, path: str, *, max_bytes: int = 1_000_000, max_seconds: float = 5) -> bytes:
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return fetch_url(url, max_bytes=max_bytes, max_seconds=max_seconds, allowed=is_this_machine)


def test_a_page_is_fetched(server: Server) -> None:
    assert fetch(server, "/fine?a=b") == BODY
    path, headers = server.seen[0]
    assert path == "/fine?a=b"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert not {"Cookie", "Authorization"} & set(headers)


def test_without_being_allowed_the_server_hears_nothing(server: Server) -> None:
    with pytest.raises(InvalidImage, match="not allowed"):
        fetch_url(f"http://127.0.0.1:{server.server_port}/fine", max_bytes=1_000_000)
    assert server.seen == []


def test_a_redirect_is_not_followed(server: Server) -> None:
    with pytest.raises(InvalidImage, match="302"):
        fetch(server, "/moved")
    assert [path for path, _ in server.seen] == ["/moved"]


@pytest.mark.parametrize("path", ["/missing", "/cut", "/garbage"])
def test_what_goes_wrong_there_is_told(server: Server, path: str) -> None:
    with pytest.raises(InvalidImage) as caught:
        fetch(server, path)
    assert caught.value.code == "fetch_failed"


def test_an_endless_body_ends_at_the_limit(server: Server) -> None:
    with pytest.raises(InvalidImage, match="larger than 50000 bytes"):
        fetch(server, "/endless", max_bytes=50_000)


def test_a_body_of_exactly_the_limit_is_taken(server: Server) -> None:
    assert fetch(server, "/fine", max_bytes=len(BODY)) == BODY


@pytest.mark.parametrize("path", ["/silent", "/drip", "/dripping_headers"])
def test_a_slow_server_gets_no_more_than_its_time(server: Server, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidImage):
        fetch(server, path, max_seconds=0.5)
    assert time.monotonic() - started < 10  # and else 30, or for ever


def test_a_dripped_body_is_not_taken_for_a_whole_one(server: Server) -> None:
    with pytest.raises(InvalidImage):
        fetch(server, "/drip", max_seconds=0.5)


def test_a_closed_port_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(InvalidImage, match="could not be fetched"):
            fetch_url(url, max_bytes=1, allowed=is_this_machine)


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(InvalidImage, match="resolved"):
        fetch_url("http://no-such-name.invalid/a.png", max_bytes=1, max_seconds=5)


def test_one_bad_address_among_the_names_refuses_all(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    with pytest.raises(InvalidImage, match="not allowed"):
        fetch_url("http://example.com/", max_bytes=1)


def test_the_name_is_resolved_once_and_its_address_pinned(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "127.0.0.2"])

    def rebinding(host: str, port: int, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        address = next(answers) if host == "rebinding.example" else host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://rebinding.example:{server.server_port}/fine"
    assert fetch_url(url, max_bytes=1_000_000, allowed=is_this_machine) == BODY
    assert next(answers) == "127.0.0.2"
    assert server.seen[0][1]["Host"] == f"rebinding.example:{server.server_port}"
