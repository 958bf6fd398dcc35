"""Chats. Python code of this project calls `generate_text`; HTTP clients use OpenAI's API (api/dialects/openai)."""

from collections.abc import Sequence
from typing import Any


def generate_text(
    *,
    text: str,
    model_name: str | None = None,
    images: Sequence[Any] = (),
    backend: str = "auto",
    system: str | None = None,
    timeout: float | None = None,
    **parameters: Any,
) -> str:
    """Ask a chat model and wait for its answer, as a job in the history, with a conversation.

    `model_name`: of the catalog, or DEFAULT_CHAT_MODEL. `images`: PIL pictures, paths of PNG, JPEG or WebP files, or ids (UUID) of
    pictures that are here.
    `parameters`: as in a request (temperature, max_tokens, seed, stop, response_format …). For sync code.

    Raises ValueError for a request that is not valid, ChatFailed where the job failed, TimeoutError after `timeout` seconds (the job
    is cancelled then).
    """
    from api.chat.python_api import generate_text as _generate_text  # models can't be imported while apps are being loaded

    fields = {"model": model_name, "backend": backend, **parameters}
    return _generate_text(text=text, images=images, system=system, timeout=timeout, parameters=fields)
