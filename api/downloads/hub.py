"""Client of the Hugging Face hub: list a repository's files and download them with resume. No torch, no Django."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from api.catalog import AdapterEntry, ModelEntry
from api.downloads.manifests import RequiredFile, size_of
from api.errors import DarkroomError
from api.json_types import JsonObject

logger = logging.getLogger("darkroom.models")

Entry = ModelEntry | AdapterEntry
Report = Callable[[int], None]
"""Called with the number of bytes received; negative when bytes have to be downloaded again."""

MAX_ATTEMPTS = 5
"""Attempts without a new byte before a broken download fails; the partial file is kept."""


class HubClient:
    """`token`: for gated repositories. `endpoint`: another hub; errors name its host only."""

    def __init__(self, token: str | None, endpoint: str | None, *, timeout: float, retry_seconds: float) -> None:
        self.endpoint, self._token = endpoint, token or None
        self._timeout, self._retry_seconds = timeout, retry_seconds

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint or constants.ENDPOINT).hostname or "the hub"

    def list_files(self, entry: Entry, revision: str | None) -> tuple[str, dict[str, RequiredFile]]:
        """The commit, and every file of the repository with its size and hash."""
        api = HfApi(endpoint=self.endpoint, token=self._token or False)
        try:
            info = api.model_info(str(entry.repo), revision=revision, files_metadata=True, timeout=self._timeout)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise DarkroomError("bad_answer", 502, f"The hub's answer about {entry.name} can't be read.") from error
        if revision is not None and info.sha != revision:
            raise DarkroomError("not_found", 502, f"The hub has another commit of {entry.name} than the one that is required.")
        files = {
            file.rfilename: RequiredFile(
                size=file.size if isinstance(file.size, int) else -1,
                sha256=file.lfs.sha256 if file.lfs else None,
                blob=None if file.lfs else file.blob_id,
            )
            for file in info.siblings or []
        }
        return str(info.sha), files

    def read_json(self, entry: Entry, commit: str, name: str) -> JsonObject:
        response = get_session().get(self._url(entry, commit, name), headers=self._headers(), timeout=self._timeout)
        hf_raise_for_status(response)
        try:
            return dict(response.json())
        except (ValueError, TypeError) as error:
            raise DarkroomError("damaged", 502, f"{name} of {entry.name} is not valid JSON.") from error

    def transfer(self, entry: Entry, commit: str, name: str, part: Path, size: int, report: Report) -> None:
        """Download into `part` up to its full size, resuming at its current size."""
        present = size_of(part) or 0
        if present > size:
            part.unlink()
            report(-present)
        attempts, url = MAX_ATTEMPTS, self._url(entry, commit, name)
        with part.open("ab") as stream:
            while stream.tell() < size:
                before = stream.tell()
                try:
                    self._stream(url, stream, size, report)
                except httpx2.TransportError as error:
                    reason = type(error).__name__
                    logger.warning("%s: the connection broke at %d of %d bytes (%s)", entry.id, stream.tell(), size, reason)
                    attempts = MAX_ATTEMPTS if stream.tell() > before else attempts - 1
                    if attempts == 0:
                        raise
                    time.sleep(self._retry_seconds)
            stream.flush()
            os.fsync(stream.fileno())

    def _stream(self, url: str, stream: BinaryIO, size: int, report: Report) -> None:
        start = stream.tell()
        headers = self._headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with get_session().stream("GET", url, headers=headers, timeout=self._timeout) as response:
            hf_raise_for_status(response)
            if start and response.status_code != 206:  # the server sends it from the beginning
                report(-start)
                stream.truncate(0)
                stream.seek(0)
            for chunk in response.iter_raw():
                stream.write(chunk)
                report(len(chunk))
                if stream.tell() > size:
                    return  # too long: the hash will say so
        if stream.tell() < size:
            raise httpx2.RemoteProtocolError("the answer ended early")

    def _url(self, entry: Entry, commit: str, name: str) -> str:
        return hf_hub_url(str(entry.repo), name, revision=commit, endpoint=self.endpoint)

    def _headers(self) -> dict[str, str]:
        return build_hf_headers(token=self._token or False, library_name="darkroom")


@contextlib.contextmanager
def translate_hub_errors(entry: Entry, host: str) -> Iterator[None]:
    """Raise the hub client's errors as DarkroomError. Of the request, only the host is named: never the token or a URL."""
    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError, HFValidationError) as error:
        if isinstance(error, GatedRepoError) or getattr(entry, "gated", False):
            raise _gated(entry) from None
        detail = f"The hub has no repository {entry.repo} at this revision, or keeps it private."
        raise DarkroomError("not_found", 502, detail) from None
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise _gated(entry) from None
        raise _offline(entry, f"{host} answered {error.response.status_code}", "try again later") from None
    except OfflineModeIsEnabled:
        raise _offline(entry, "HF_HUB_OFFLINE is set", f"unset it, or {_fetch_elsewhere(entry)}") from None
    except httpx2.HTTPError as error:
        remedy = f"check this server's network, DNS and proxy (HTTPS_PROXY), or {_fetch_elsewhere(entry)}"
        raise _offline(entry, _reason(error, host), remedy) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DarkroomError("disk_full", 507, f"The disk of the models folder is full; {entry.name} needs more.") from error
        detail = f"{entry.name} can't be written to the models folder: {error.strerror or type(error).__name__}."
        raise DarkroomError("not_writable", 500, detail) from error


def _gated(entry: Entry) -> DarkroomError:
    remedy = f"accept its licence on the hub's page of {entry.repo}, then set HF_TOKEN to a token that may read it."
    return DarkroomError("gated", 403, f"{entry.name} is gated: {remedy}")


def _reason(error: httpx2.HTTPError, host: str) -> str:
    """Of the host that did not answer: files may lie on another one than the hub's own."""
    with contextlib.suppress(RuntimeError):  # an error without a request
        host = error.request.url.host or host
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return f"{host} can't be reached"
    if isinstance(error, httpx2.TimeoutException):
        return f"{host} did not answer in time"
    return f"the connection to {host} broke ({type(error).__name__})"


def _fetch_elsewhere(entry: Entry) -> str:
    if isinstance(entry, AdapterEntry):
        return "put its file here and name it as `path` in CATALOG_EXTRA"
    return f"run `python manage.py preload_models {entry.id}` on a machine with one and copy the models folder"


def _offline(entry: Entry, reason: str, remedy: str) -> DarkroomError:
    detail = (
        f"{entry.name} can't be fetched now: {reason}. To mend it, {remedy}. What is here is kept; fetching goes on from there."
    )
    return DarkroomError("offline", 503, detail)
