"""What can be wrong with a file, in words that a client may read."""

from api.jobs.errors import JobError
from api.problems import Problem


class InvalidImage(ValueError):
    """An image that can't be taken: `code` for programs, `detail` a sentence for people. The caller adds the field's name."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.detail, self.code = detail, code


class FileProblem(Problem, JobError):
    """The same refusal whether a request meets it (its reply) or a job (its end)."""

    def __init__(self, code: str, status: int, detail: str) -> None:
        Exception.__init__(self, detail)
        self.code, self.status, self.detail, self.headers = code, status, detail, {}


class DiskFull(FileProblem):
    def __init__(self) -> None:
        super().__init__("disk_full", 507, "The server's disk is full. Its owner has to free some space.")


class MissingFile(FileProblem):
    """The row is there, its file is not."""

    def __init__(self) -> None:
        super().__init__("file_missing", 410, "This picture's file is no longer on the server.")
