"""The one function that fetches what a client names. Nothing else opens a connection to a place that a client chose."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from api.files.errors import InvalidImage
from api.files.formats import CONTENT_TYPES
from api.ip_addresses import is_global_address

MAX_SECONDS = 10.0
CHUNK = 64 * 1024
USER_AGENT = "Darkroom"
# getaddrinfo knows no time limit, so it is waited for from outside.
_resolver = ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolve")


def fetch_url(
    url: str,
    *,
    max_bytes: int,
    max_seconds: float = MAX_SECONDS,
    allowed: Callable[[str], bool] = is_global_address,
) -> bytes:
    """The body at an http(s) URL. Raises InvalidImage.

    Every address that the name resolves to must be `allowed`, and the connection goes to one of those very addresses: the
    name is not asked for a second time. No redirects, no proxies, no credentials, no cookies; `max_seconds` covers everything
    from resolving on.
    """
    deadline = monotonic() + max_seconds
    parts = split_url(url)
    addresses = resolve(parts, deadline)
    if not addresses or not all(map(allowed, addresses)):
        raise InvalidImage("This URL leads to an address that is not allowed.", "url_not_allowed")
    try:
        with limited(connect(parts, addresses[0], deadline), deadline) as connection:
            body = read_body(connection, parts, max_bytes)
    except (OSError, http.client.HTTPException, UnicodeError):
        raise fetch_failed("The image could not be fetched from its URL.") from None
    if monotonic() >= deadline:  # cut off, which looks like the end of a body without a length
        raise fetch_failed("The image's URL took too long to answer.")
    return body


def fetch_failed(detail: str) -> InvalidImage:
    return InvalidImage(detail, "fetch_failed")


def split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises for a port that is none)
    except ValueError:
        raise InvalidImage("This is not a URL.", "url_not_allowed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InvalidImage("Image URLs begin with http:// or https:// and carry no user name.", "url_not_allowed")
    return parts


def port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def resolve(parts: SplitResult, deadline: float) -> list[str]:
    """Every address of the name, in the system's order of preference."""
    lookup = _resolver.submit(socket.getaddrinfo, parts.hostname, port_of(parts), type=socket.SOCK_STREAM)
    try:
        found = lookup.result(timeout=max(0.0, deadline - monotonic()))
    except (OSError, UnicodeError, TimeoutError):
        raise fetch_failed("The name in the image's URL could not be resolved.") from None
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def connect(parts: SplitResult, address: str, deadline: float) -> http.client.HTTPConnection:
    """A connection to the address itself; the name is used for the Host header and to check the certificate."""
    left = max(0.1, deadline - monotonic())
    host = parts.hostname or ""
    connection = http.client.HTTPConnection(host, port_of(parts), timeout=left)
    sock = socket.create_connection((address, port_of(parts)), timeout=left)
    if parts.scheme == "https":
        try:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
    connection.sock = sock
    return connection


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


def read_body(connection: http.client.HTTPConnection, parts: SplitResult, max_bytes: int) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.auto_open = 0  # never a connection of http.client's own, which would resolve the name again
    connection.request("GET", path, headers={"User-Agent": USER_AGENT, "Accept": ", ".join(CONTENT_TYPES)})
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise fetch_failed(f"The image's URL answered with status {response.status}; redirects are not followed.")
    body = bytearray()
    while chunk := response.read(min(CHUNK, max_bytes + 1 - len(body))):
        body += chunk
        if len(body) > max_bytes:
            raise fetch_failed(f"The image at this URL is larger than {max_bytes} bytes.")
    if response.length:
        raise fetch_failed("The image's URL stopped before the end.")
    return bytes(body)
