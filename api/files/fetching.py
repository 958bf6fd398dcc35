"""The one place that opens a connection to where a client said: pictures are fetched from there, webhooks are posted to there."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from api.files.errors import InvalidImage
from api.files.formats import CONTENT_TYPES
from api.ip_addresses import is_global_address

MAX_SECONDS = 10.0
CHUNK = 64 * 1024
USER_AGENT = "Darkroom"
MOST_LOOKUPS = 256
# getaddrinfo knows no time limit, so it is waited for from outside; names that hang must not hold up others.
_resolver = ThreadPoolExecutor(max_workers=MOST_LOOKUPS, thread_name_prefix="resolve")

Allowed = Callable[[str], bool]
T = TypeVar("T")


class Unreachable(Exception):
    """No answer came from a URL: `code` for programs, `detail` a sentence for people."""

    def __init__(self, detail: str, code: str = "fetch_failed") -> None:
        super().__init__(detail)
        self.detail, self.code = detail, code


@dataclass(frozen=True)
class Answer:
    """`body`: the beginning of it."""

    status: int
    body: bytes


def fetch_url(url: str, *, max_bytes: int, max_seconds: float = MAX_SECONDS, allowed: Allowed = is_global_address) -> bytes:
    """The body at an http(s) URL. Raises InvalidImage."""
    deadline = monotonic() + max_seconds
    headers = {"Accept": ", ".join(CONTENT_TYPES)}
    try:
        body = exchange("GET", url, lambda got: read_body(got, max_bytes), headers=headers, deadline=deadline, allowed=allowed)
        if monotonic() >= deadline:  # cut off, which looks like the end of a body without a length
            raise too_slow()
        return body
    except Unreachable as error:
        raise InvalidImage(error.detail, error.code) from None


def post_url(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    max_answer_bytes: int = CHUNK,
    max_seconds: float = MAX_SECONDS,
    allowed: Allowed = is_global_address,
) -> Answer:
    """What an http(s) URL answers to a POST, whatever its status is; its head counts, its body is read as far as it comes.

    Raises Unreachable.
    """
    deadline = monotonic() + max_seconds

    def read(response: http.client.HTTPResponse) -> Answer:
        if monotonic() >= deadline:  # cut off, which looks like the end of the head
            raise too_slow()
        return Answer(response.status, read_beginning(response, max_answer_bytes))

    return exchange("POST", url, read, body=body, headers=headers, deadline=deadline, allowed=allowed)


def exchange(
    method: str,
    url: str,
    read: Callable[[http.client.HTTPResponse], T],
    *,
    deadline: float,
    allowed: Allowed,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> T:
    """What `read` makes of the answer. Raises Unreachable.

    Every address that the name resolves to must be `allowed`, and the connection goes to one of those very addresses: the
    name is not asked for a second time. No redirects, no proxies, no credentials, no cookies; the time until `deadline` covers
    everything from resolving on.
    """
    parts = split_url(url)
    addresses = resolve(parts, deadline)
    if not addresses or not all(map(allowed, addresses)):
        raise Unreachable("This URL leads to an address that is not allowed.", "url_not_allowed")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with limited(connect(parts, addresses, deadline), deadline) as connection:
            connection.auto_open = 0  # never a connection of http.client's own, which would resolve the name again
            connection.request(method, path, body=body, headers={"User-Agent": USER_AGENT, **headers})
            return read(connection.getresponse())
    except (OSError, http.client.HTTPException, UnicodeError):
        if monotonic() >= deadline:
            raise too_slow() from None
        raise Unreachable("This URL could not be fetched: nothing answers there, or not as HTTP says.") from None


def too_slow() -> Unreachable:
    return Unreachable("This URL took too long to answer.")


def split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Unreachable("This is not a URL.", "url_not_allowed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or port == 0:
        raise Unreachable("URLs begin with http:// or https:// and carry no user name and no port 0.", "url_not_allowed")
    return parts


def port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def resolve(parts: SplitResult, deadline: float) -> list[str]:
    """Every address of the name, in the system's order of preference."""
    lookup = _resolver.submit(socket.getaddrinfo, parts.hostname, port_of(parts), type=socket.SOCK_STREAM)
    try:
        found = lookup.result(timeout=max(0.0, deadline - monotonic()))
    except (OSError, UnicodeError, TimeoutError):
        raise Unreachable("The name in this URL could not be resolved.") from None
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def connect(parts: SplitResult, addresses: Sequence[str], deadline: float) -> http.client.HTTPConnection:
    """A connection to one of the addresses itself; the name is used for the Host header and to check the certificate."""
    host = parts.hostname or ""
    sock = open_socket(addresses, port_of(parts), deadline)
    sock.settimeout(seconds_left(deadline))
    connection = http.client.HTTPConnection(host, port_of(parts))
    if parts.scheme == "https":
        try:
            sock = tls_context().wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
    connection.sock = sock
    return connection


def open_socket(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    """To the first that answers: a name such as localhost has one for IPv6, too, at which few servers listen."""
    *others, last = addresses
    for place, address in enumerate(others):
        try:
            return socket.create_connection((address, port), timeout=seconds_left(deadline) / (len(addresses) - place))
        except OSError:
            continue
    return socket.create_connection((last, port), timeout=seconds_left(deadline))


def seconds_left(deadline: float) -> float:
    return max(0.1, deadline - monotonic())


@cache
def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def limited(connection: http.client.HTTPConnection, deadline: float) -> Iterator[http.client.HTTPConnection]:
    """Cuts the connection at the deadline: a timeout of the socket alone starts anew with each byte of a slow server."""
    sock = connection.sock
    timer = threading.Timer(max(0.0, deadline - monotonic()), cut, [sock])
    timer.daemon = True
    timer.start()
    try:
        yield connection
    finally:
        timer.cancel()
        connection.close()
        sock.close()


def cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed meanwhile


def read_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """All of it."""
    if response.status != http.client.OK:
        raise Unreachable(f"This URL answered with status {response.status}; redirects are not followed.")
    body = bytearray()
    while chunk := response.read(min(CHUNK, max_bytes + 1 - len(body))):
        body += chunk
        if len(body) > max_bytes:
            raise Unreachable(f"What is at this URL is larger than {max_bytes} bytes.")
    if response.length:
        raise Unreachable("This URL stopped before the end.")
    return bytes(body)


def read_beginning(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        while len(body) < max_bytes and (chunk := response.read1(max_bytes - len(body))):
            body += chunk
    except (OSError, http.client.HTTPException):
        pass  # the status has come
    return bytes(body)
