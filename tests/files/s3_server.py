"""moto's S3 server in a thread of this process, and a proxy before it that is slow, breaks off or loses answers when it is told to."""

import contextlib
import http.client
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import httpx
from moto.server import ThreadedMotoServer

BUCKET = "pictures"
KEYS = {"access_key": "key", "secret_key": "secret", "region_name": "us-east-1"}
QUICK = {"connect_timeout": 1, "read_timeout": 0.5, "attempts": 2, "rest_seconds": 0}


class Proxy(ThreadingHTTPServer):
    """`fail(kind, count, method)`: the next `count` requests of that method are answered so. `seen` has what was asked for."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.faults: list[tuple[str, str]] = []
        self.seen: list[tuple[str, str, str]] = []
        self.sent, self.folder = 0, ""
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: Any) -> None:
        """A client that hung up on a slow answer is what some tests are about."""

    def fail(self, kind: str, count: int = 99, method: str = "") -> None:
        self.faults = [(kind, method)] * count

    def next_fault(self, method: str) -> str:
        for fault in self.faults:
            if fault[1] in ("", method):
                self.faults.remove(fault)
                return str(fault[0])
        return ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: Any) -> None: ...

    def forward(self) -> None:
        fault = self.server.next_fault(self.command)
        self.server.seen.append((self.command, self.path, self.headers.get("Range", "")))
        body = self.read_body()
        if fault == "slow":
            time.sleep(1)
        if fault in DENIALS:
            status, code = DENIALS[fault]
            return self.answer(status, f"<Error><Code>{code}</Code><Message>x</Message></Error>".encode(), {})
        connection = http.client.HTTPConnection(*self.server.target)
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        data, headers = reply.read(), dict(reply.getheaders())
        connection.close()
        if fault == "lost":  # done, and never acknowledged
            self.close_connection = True
            return self.connection.shutdown(2)
        self.answer(reply.status, data, headers, cut=fault == "cut")

    def read_body(self) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(length)

    def answer(self, status: int, data: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        kept = {
            name: value for name, value in headers.items() if name.lower() not in ("connection", "transfer-encoding", "date")
        }
        for name, value in {"Content-Length": str(len(data)), **kept}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send_slowly(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)

    def send_slowly(self, data: bytes) -> None:
        """So that `sent` is what has left, to within the buffers of a socket."""
        for start in range(0, len(data), 65536):
            self.wfile.write(data[start : start + 65536])
            self.server.sent += len(data[start : start + 65536])

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward  # noqa: N815


DENIALS = {
    "503": (503, "SlowDown"),
    "full": (507, "XMinioStorageFull"),
    "denied": (403, "AccessDenied"),
}


@contextlib.contextmanager
def s3_server() -> Iterator[Proxy]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    proxy = Proxy((host, port))
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()  # what another server of this process has kept
        client_of(proxy).create_bucket(Bucket=BUCKET)
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        moto.stop()


def url_of(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.server_address[1]}"


def client_of(proxy: Proxy) -> Any:
    """What the tests look into the bucket with, past the proxy."""
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=f"http://{proxy.target[0]}:{proxy.target[1]}", **keys)


def options_of(proxy: Proxy, **more: Any) -> dict[str, Any]:
    return {"bucket_name": BUCKET, "endpoint_url": url_of(proxy), **KEYS, **QUICK, **more}


def straight_options_of(proxy: Proxy) -> dict[str, Any]:
    """Past the proxy, with the limits that a server has."""
    return {"bucket_name": BUCKET, "endpoint_url": f"http://{proxy.target[0]}:{proxy.target[1]}", **KEYS}


def names_in(proxy: Proxy) -> list[str]:
    pages = client_of(proxy).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]
