"""What can be wrong with a file, in words that a client may read."""

from api.errors import DarkroomError
from api.jobs.disk import DiskFull as DiskFull


class InvalidImage(ValueError):
    """An image that can't be taken: `code` for programs, `detail` a sentence for people. The caller adds the field's name."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.detail, self.code = detail, code


class MissingFile(DarkroomError):
    """The row is there, its file is not."""

    def __init__(self) -> None:
        super().__init__("file_missing", 410, "This picture's file is no longer on the server.")
