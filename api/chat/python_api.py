"""`generate_text` for Python code: the same validation, job and history as over HTTP."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from PIL import ImageOps
from rest_framework.exceptions import ValidationError

from api.access.scopes import LOCAL
from api.chat.serializers import ChatSerializer
from api.errors import DarkroomError
from api.files.decoding import encode_png, flatten
from api.files.errors import InvalidImage
from api.files.inputs import HERE
from api.files.services import store_upload
from api.jobs.api.submission import submit
from api.jobs.api.waiting import block_until_final
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.json_types import JsonObject
from api.problems import field_errors


class ChatFailed(RuntimeError):
    """The job failed or was cancelled. `code`: the error code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def generate_text(
    *, text: str, images: Sequence[object], system: str | None, timeout: float | None, parameters: JsonObject
) -> str:
    messages = messages_of(text, [store_picture(image) for image in images], system=system)
    job = wait(submit_chat({**parameters, "messages": messages}), timeout)
    if job.status != Status.SUCCEEDED or job.result is None:
        error = job.error or {"code": "cancelled", "detail": "The chat was cancelled."}
        raise ChatFailed(str(error["code"]), str(error["detail"]))
    return str(job.result["choices"][0]["text"])


def submit_chat(body: JsonObject) -> Job:
    serializer = ChatSerializer(data=body, context={"principal": LOCAL})
    try:
        serializer.is_valid(raise_exception=True)
        return submit(serializer.resolve(), principal=LOCAL, source="python")
    except ValidationError as error:
        raise ValueError("; ".join(f"{each['field']}: {each['detail']}" for each in field_errors(error.detail))) from None
    except DarkroomError as problem:
        raise ValueError(problem.detail) from None


def wait(job: Job, timeout: float | None) -> Job:
    try:
        if not block_until_final(job.pk, timeout):
            raise TimeoutError(f"There was no answer within {timeout:g} seconds.")
    except BaseException:
        cancel_job(job=job)
        raise
    return Job.objects.get(pk=job.pk)


def messages_of(text: str, pictures: Sequence[uuid.UUID], *, system: str | None = None, detail: str = "auto") -> list[Any]:
    """OpenAI messages: one question after stored images."""
    images = [{"type": "image_url", "image_url": {"url": f"{HERE}{picture}", "detail": detail}} for picture in pictures]
    question = {"role": "user", "content": [*images, {"type": "text", "text": text}]}
    return [{"role": "system", "content": system}, question] if system else [question]


def store_picture(image: Any) -> uuid.UUID:
    """Store a PIL image or a file (PNG, JPEG, WebP) as an upload. An id is returned unchanged.

    Raises InvalidImage, DiskFull, and OSError for a file that can't be read.
    """
    if isinstance(image, uuid.UUID):
        return image
    data = (
        read_file(Path(image)) if isinstance(image, str | Path) else encode_png(flatten(ImageOps.exif_transpose(image), "RGB"))
    )
    return store_upload(owner_key=LOCAL.owner_key, data=data).pk  # type: ignore[no-any-return]


def read_file(path: Path) -> bytes:
    if path.stat().st_size > settings.MAX_BODY_BYTES:
        raise InvalidImage(f"The file is larger than {settings.MAX_BODY_BYTES} bytes.", "too_large")
    return path.read_bytes()
