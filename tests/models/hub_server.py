"""A local server that speaks the Hugging Face hub's protocol: model info with hashes, and files with ranges.

It serves what huggingface_hub itself asks for, so its own `snapshot_download` runs against it (a test holds that), and it can
be told to misbehave as networks and repositories do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """One repository at one commit, and how it misbehaves."""

    files: dict[str, bytes]
    commit: str
    token: str | None = None
    """Gated: only requests with this token are served."""
    seconds_per_chunk: float = 0.0
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """For a file: after how many bytes the connection breaks, one number for each of the next requests."""
    damage: dict[str, int] = field(default_factory=dict)
    """For a file: how many of the next answers have a wrong byte."""
    ranges: bool = True
    sizes: dict[str, Any] = field(default_factory=dict)
    """For a file: the size that the listing gives instead of its own."""
    answer: bytes | None = None
    """What is answered instead of the listing."""
    redirect: str | None = None
    """Files are answered with a redirect to the same path at this address, as the hub does to its CDN."""


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    range: str | None
    authorization: str | None


class HubServer:
    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.seen: list[Seen] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, name: str, source: Path | dict[str, bytes], *, commit: str = "", **options: Any) -> Repository:
        """Publish a folder, or files given as bytes; publishing again under the same name is a new commit."""
        files = source if isinstance(source, dict) else _read_folder(source)
        commit = commit or hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(files.items()))).hexdigest()
        self.repositories[name] = Repository(files, commit, **options)
        return self.repositories[name]

    def fetched(self) -> list[str]:
        """The files that were asked for, in order."""
        return [seen.path.split("/resolve/")[1].split("/", 1)[1] for seen in self.seen if "/resolve/" in seen.path]

    @contextlib.contextmanager
    def running(self) -> Iterator[HubServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def is_large(name: str) -> bool:
    """Large files are in LFS, with a sha256; the others are in git, with the hash of a blob."""
    return name.endswith((".safetensors", ".bin", ".onnx", ".onnx_data"))


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob_id(data)}
    if is_large(name):
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _tree_entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": blob_id(data)}
    if is_large(name):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            authorization = self.headers.get("Authorization")
            hub.seen.append(Seen(self.command, path, self.headers.get("Range"), authorization))
            match = re.match(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
            match = match or re.match(r"/([^/]+/[^/]+)/(resolve)/([^/]+)/", path)
            repository = hub.repositories.get(match[1]) if match else None
            if match is None or repository is None:
                self._refuse(404 if authorization else 401, "RepoNotFound", "Repository not found")
            elif repository.token is not None and authorization != f"Bearer {repository.token}":
                self._refuse(403 if authorization else 401, "GatedRepo", "Access to this model is restricted")
            elif match[3] not in (None, "main", repository.commit):
                self._refuse(404, "RevisionNotFound", "Invalid rev id")
            elif match[2] == "resolve" and repository.redirect:
                self._send(302, b"", {"Location": repository.redirect + path})
            elif match[2] == "resolve":
                self._file(repository, path[match.end() :])
            elif match[2] == "tree":
                self._json([_tree_entry(*item) for item in repository.files.items()])
            elif repository.answer is not None:
                self._send(200, repository.answer, {"Content-Type": "application/json"})
            else:
                siblings = [_sibling(*item) for item in repository.files.items()]
                for sibling in siblings:
                    sibling["size"] = repository.sizes.get(sibling["rfilename"], sibling["size"])
                self._json({"id": match[1], "modelId": match[1], "sha": repository.commit, "siblings": siblings, "tags": []})

        def _file(self, repository: Repository, name: str) -> None:
            data = repository.files.get(name)
            if data is None:
                self._refuse(404, "EntryNotFound", "Entry not found")
                return
            digest = hashlib.sha256(data).hexdigest() if is_large(name) else blob_id(data)
            headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
            if is_large(name):
                headers |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{digest}"'}
            if repository.damage.get(name, 0) > 0 and self.command == "GET":
                repository.damage[name] -= 1
                data = data[:-1] + bytes([data[-1] ^ 0xFF])
            start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "") if repository.ranges else None
            if start:
                headers["Content-Range"] = f"bytes {start[1]}-{len(data) - 1}/{len(data)}"
            self._send(206 if start else 200, data[int(start[1]) if start else 0 :], headers, repository, name)

        def _json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _refuse(self, status: int, code: str, message: str) -> None:
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

        def _send(
            self, status: int, body: bytes, headers: dict[str, str], repository: Repository | None = None, name: str = ""
        ) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            cuts = repository.cuts.get(name, []) if repository else []
            if cuts:
                self.wfile.write(body[: cuts.pop(0)])
                self.wfile.flush()
                self.close_connection = True
                return
            for start in range(0, len(body), 4096):
                if repository and repository.seconds_per_chunk:
                    time.sleep(repository.seconds_per_chunk)
                self.wfile.write(body[start : start + 4096])

    return Handler
