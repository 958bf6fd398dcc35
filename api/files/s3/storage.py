"""The storage of media in a bucket: django-storages' options and names, with reading, writing and listing of our own.

Its own S3Storage reads a whole object into memory to give its first byte, sends large files in parts (of which a killed process leaves
some behind that nobody lists) and makes a client for every thread.
"""

import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from django.core.files import File
from storages.backends.s3 import S3Storage

from api.files.s3.failures import is_missing, one_line, translated
from api.files.s3.options import find_faults
from api.files.s3.reader import ObjectReader
from api.files.s3.rest import Rest
from api.outages import StorageRefused

CHUNK = 256 * 1024
OWN_OPTIONS = {"connect_timeout": 4, "read_timeout": 10, "attempts": 3, "page_size": 1000, "rest_seconds": 3}
"""Seconds, tries of one request (with growing waits between them), names in one answer to a listing, seconds (rest.py)."""
LEFT_OUT = {"file_overwrite", "gzip", "transfer_config", "client_config", "max_memory_size", "use_threads"}
"""Options of S3Storage that have no effect here, or are no JSON."""


class S3MediaStorage(S3Storage):
    """An object is whole or absent, and written under its final key by one request, which may be repeated."""

    file_overwrite, gzip, use_threads, transfer_config, client_config, max_memory_size = True, False, True, None, None, 0
    _lock = threading.Lock()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._shared: Any = None
        self.rest = Rest(self.rest_seconds)

    def get_default_settings(self) -> dict[str, Any]:
        defaults = {**super().get_default_settings(), "querystring_expire": 300}
        return {**{name: value for name, value in defaults.items() if name not in LEFT_OUT}, **OWN_OPTIONS}

    @property
    def place(self) -> str:
        """For people: an address without a secret."""
        where = urlsplit(self.endpoint_url or "").netloc.rpartition("@")[2]
        folder = f"/{self.location}" if self.location else ""
        return f"bucket {self.bucket_name}{folder}{f' at {where}' if where else ''}"

    @property
    def connection(self) -> Any:
        """One for all threads: its client may be shared, and making one takes a tenth of a second."""
        with self._lock:
            self._shared = self._shared or self.connect()
            return self._shared

    def connect(self) -> Any:
        """Sends nothing yet."""
        options = {name: getattr(self, name) for name in ("region_name", "use_ssl", "endpoint_url", "verify")}
        try:
            return self._create_session().resource("s3", config=self.make_config(), **options)
        except ValueError as error:
            raise StorageRefused(f"{one_line(error)}. Correct endpoint_url or region_name.") from error

    def make_config(self) -> Config:
        return Config(
            s3={"addressing_style": self.addressing_style},
            signature_version=self.signature_version or "s3v4",
            proxies=self.proxies,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            max_pool_connections=64,
            # Compatible servers know Content-MD5, and not all of them AWS's newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def faults(self) -> Iterator[str]:
        """What is wrong with the options; asks nobody."""
        found = list(find_faults(self))
        yield from found
        if not found and self.access_key:  # without a key one is looked for, maybe over the network
            try:
                self.connect()
            except StorageRefused as error:
                yield str(error).rstrip(".")

    def key(self, name: str) -> str:
        return str(self._normalize_name(name))

    # ---------------------------------------------------------------- Django's Storage

    @translated
    def _open(self, name: str, mode: str = "rb") -> File:
        reader = ObjectReader(self.client, self.bucket_name, self.key(name), self.place)
        file = File(io.BufferedReader(reader, CHUNK), name)
        file.size = reader.size  # type: ignore[misc]  # else it is looked for by a path
        return file

    @translated
    def _save(self, name: str, content: Any) -> str:
        """The storage compares what arrived with the MD5 that goes with it. A body that can be rewound is sent again where it fails."""
        parameters = self._get_write_parameters(name, content)
        body: Any = content.file if isinstance(content, File) else content
        body.seek(0)
        digest = base64.b64encode(hashlib.file_digest(body, lambda: hashlib.md5(usedforsecurity=False)).digest()).decode()
        body.seek(0)
        self.client.put_object(Bucket=self.bucket_name, Key=self.key(name), Body=body, ContentMD5=digest, **parameters)
        return name

    @translated
    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket_name, Key=self.key(name))

    def exists(self, name: str) -> bool:
        try:
            self.head(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return int(self.head(name)["ContentLength"])

    def get_modified_time(self, name: str) -> datetime:
        moment: datetime = self.head(name)["LastModified"]
        return moment

    @translated
    def head(self, name: str) -> dict[str, Any]:
        """Raises FileNotFoundError, where the bucket is there: of a bucket that is missing, a HEAD says no more than 404, too."""
        try:
            found: dict[str, Any] = self.client.head_object(Bucket=self.bucket_name, Key=self.key(name))
        except Exception as error:
            if is_missing(error):
                self.client.list_objects_v2(Bucket=self.bucket_name, Prefix=self.key(name), MaxKeys=1)
            raise
        return found

    # ---------------------------------------------------------------- what a folder has no need of

    def pages_after(self, folder: str, start: str) -> Iterator[list[str]]:
        """The names below `folder` from `start` on, in order, as many at a time as the storage tells at once."""
        prefix, skipped = f"{self.key(folder)}/", len(self.key("x")) - 1
        token: dict[str, str] = {"StartAfter": self.key(start)} if start else {}
        while True:
            page = self.list_page(Prefix=prefix, MaxKeys=self.page_size, **token)
            yield [entry["Key"][skipped:] for entry in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    @translated
    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        folders, files = super().listdir(name)
        return folders, files

    @translated
    def list_page(self, **parameters: Any) -> dict[str, Any]:
        page: dict[str, Any] = self.client.list_objects_v2(Bucket=self.bucket_name, **parameters)
        return page

    def signed_url(self, name: str, content_type: str, disposition: str) -> str:
        """Good for `querystring_expire` seconds."""
        headers = {"ResponseContentType": content_type, "ResponseContentDisposition": disposition}
        return str(self.url(name, parameters=headers))
