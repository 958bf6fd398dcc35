"""An object read as a stream: no more of it in memory than what was asked for, wherever it is begun, and once more where it breaks off."""

import io
import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from api.files.s3.failures import as_os_error

log = logging.getLogger("darkroom.files")
MOST_RESUMES = 3
"""In a row, without a byte between them."""


class ObjectReader(io.RawIOBase):
    """Asks for the whole object at once; after a `seek`, or where the connection is lost, for the rest of it.

    Raises FileNotFoundError as it is made. `If-Match` keeps two versions of an object from being joined.
    """

    def __init__(self, client: Any, bucket: str, key: str, place: str) -> None:
        super().__init__()
        self.client, self.key, self.place, self.position = client, {"Bucket": bucket, "Key": key}, place, 0
        answer = client.get_object(**self.key)
        self.body: Any = answer["Body"]
        self.size: int = answer["ContentLength"]
        self.etag: str = answer["ETag"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence] + offset
        if position != self.position:
            self.drop()
            self.position = max(0, position)
        return self.position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self.size - self.position)]
        if not view:
            return 0
        data = self.read_some(len(view))
        view[: len(data)] = data
        self.position += len(data)
        return len(data)

    def read_some(self, length: int) -> bytes:
        """At least one byte. Raises OSError where the storage breaks off again and again."""
        for attempt in range(MOST_RESUMES + 1):
            try:
                self.body = self.body or self.ask_for_rest()
                data: bytes = self.body.read(length)
                if data:
                    return data
                reason: Exception = OSError("it ended early")
            except (BotoCoreError, ClientError, OSError) as error:
                reason = error
            self.drop()
            log.warning("Reading %s broke off at byte %d (%d. time): %s", self.key["Key"], self.position, attempt + 1, reason)
            if isinstance(reason, ClientError):
                break  # the client has tried that several times already
        raise as_os_error(reason, self.place) from reason

    def ask_for_rest(self) -> Any:
        return self.client.get_object(**self.key, Range=f"bytes={self.position}-", IfMatch=self.etag)["Body"]

    def drop(self) -> None:
        if self.body is not None:
            self.body.close()
        self.body = None

    def close(self) -> None:
        self.drop()
        super().close()
