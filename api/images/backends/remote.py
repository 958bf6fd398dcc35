"""Pictures made by a Hugging Face inference server: the hub's providers, or an endpoint of one's own. No torch, no Django.

The protocol knows fewer parameters than diffusers. What it can't honour is an error that names the field, never dropped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError
from PIL import Image

from api import tracing
from api.errors import DarkroomError
from api.files.formats import FORMATS, encode
from api.images.backends.inputs import source_image
from api.images.backends.request import Hooks, ImageRequest
from api.images.spec import Img2ImgSpec

logger = logging.getLogger("darkroom.models")

RETRIED = frozenset({429, 500, 502, 503, 504})
"""Statuses that may be gone on the next try; other 4xx will not be."""
LONGEST_WAIT = 30.0

_ANSWERS: dict[int, tuple[str, int, str]] = {
    400: ("remote_refused", 400, "The inference server does not accept these parameters."),
    401: ("remote_unauthorized", 502, "The inference server does not accept this server's token: check HF_TOKEN."),
    402: ("remote_payment", 502, "The inference server asks for payment: the account of HF_TOKEN has no credit left."),
    403: (
        "remote_forbidden",
        502,
        "HF_TOKEN has no right to use this model: accept its licence, and check the token's rights.",
    ),
    404: ("remote_model_unknown", 400, "The inference server does not offer this model."),
    413: ("remote_refused", 400, "The picture is too large for the inference server."),
    422: ("remote_refused", 400, "The inference server does not accept these parameters."),
    429: ("remote_busy", 503, "The inference server has too many requests; try again later."),
    503: ("remote_busy", 503, "The inference server is not ready; try again later."),
}
_FAILED = ("remote_failed", 502, "The inference server could not make the picture.")
_TIMED_OUT = ("remote_timeout", 504, "The inference server did not answer in time.")
_UNREACHABLE = ("remote_unreachable", 502, "The inference server can't be reached.")


@dataclass
class RemoteBackend:
    """`endpoint` is the URL of one's own inference server; without it a `provider` serves the model (None: the hub chooses)."""

    token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    provider: Any = None
    timeout: float = 120.0
    """Seconds for one try."""
    retries: int = 3
    backoff: float = 1.0
    """Seconds before the second try; doubled for each further one, unless the server's Retry-After says longer."""
    sleep: Callable[[float], None] = time.sleep

    def generate(self, request: ImageRequest, hooks: Hooks, *, model: str | None = None) -> list[Image.Image]:
        """One picture for each seed; [] when cancelled. Raises what `make_pictures` raises."""
        pictures: list[Image.Image] = []
        made = self.make_pictures(request, hooks, lambda number, picture: pictures.append(picture), model=model)
        return pictures if made else []

    def make_pictures(
        self, request: ImageRequest, hooks: Hooks, take: Callable[[int, Image.Image], None], *, model: str | None = None
    ) -> bool:
        """A picture for each seed, in as many calls, each handed to `take` with its place among the seeds; False when cancelled.

        `model` is the hub repository's name. `hooks` are for this request alone: it is their index 0.
        Raises DarkroomError, with unsupported_remotely (400) for a field that is marked as `local_only`.
        """
        if fields := request.spec.local_fields_in_use:
            detail = f"{', '.join(fields)} can't be used while models run remotely (USE_LOCAL_MODELS=false)."
            raise DarkroomError("unsupported_remotely", 400, detail, field=fields[0])
        for number, seed in enumerate(request.spec.seeds):
            if hooks.cancelled(0):
                return False
            try:
                with hooks.measure("remote"):
                    picture = self._make(request, seed, model or request.spec.model_id, hooks)
            except DarkroomError:
                if hooks.cancelled(0):
                    return False
                raise
            take(number, picture)
            hooks.on_step(number + 1, len(request.spec.seeds), [None])
        return True

    def _make(self, request: ImageRequest, seed: int, model: str, hooks: Hooks) -> Image.Image:
        for attempt in range(self.retries + 1):
            try:
                with tracing.call("remote picture", {"gen_ai.request.model": model}) as headers:
                    return self._ask(request, seed, model, headers)
            except (HfHubHTTPError, InferenceTimeoutError, httpx2.HTTPError) as error:
                logger.warning("inference server: %s, try %d", _name_of(error), attempt + 1)
                if attempt == self.retries or not _may_pass(error) or hooks.cancelled(0):
                    raise DarkroomError(*_answer_to(error)) from None  # its text may hold the URL, and the server's words
                self.sleep(min(LONGEST_WAIT, max(self.backoff * 2**attempt, _retry_after(error))))
            except (OSError, ValueError) as error:
                logger.warning("inference server: %s", _name_of(error))
                raise DarkroomError("remote_bad_answer", 502, "The inference server's answer is not a picture.") from None
        raise AssertionError("unreachable")

    def _ask(self, request: ImageRequest, seed: int, model: str, headers: dict[str, str]) -> Image.Image:
        where = {"model": self.endpoint or model, "provider": self.provider}
        client = InferenceClient(**where, token=self.token, timeout=self.timeout, headers=headers or None)
        spec = request.spec
        arguments: dict[str, Any] = {
            "negative_prompt": spec.negative_prompt or None,
            "guidance_scale": spec.guidance_scale,
            "num_inference_steps": spec.steps,
            "seed": seed,
        }
        if isinstance(spec, Img2ImgSpec):
            source = encode(source_image(request), FORMATS["png"])
            arguments |= {"target_size": {"width": spec.width, "height": spec.height}, "strength": spec.strength}
            made = client.image_to_image(source, prompt=spec.prompt, **arguments)
        else:
            made = client.text_to_image(spec.prompt, width=spec.width, height=spec.height, **arguments)
        return made.convert("RGB")


def _may_pass(error: Exception) -> bool:
    return error.response.status_code in RETRIED if isinstance(error, HfHubHTTPError) else True


def _answer_to(error: Exception) -> tuple[str, int, str]:
    if isinstance(error, HfHubHTTPError):
        return _ANSWERS.get(error.response.status_code, _FAILED)
    return _TIMED_OUT if isinstance(error, InferenceTimeoutError | httpx2.TimeoutException) else _UNREACHABLE


def _retry_after(error: Exception) -> float:
    value = error.response.headers.get("retry-after", "") if isinstance(error, HfHubHTTPError) else ""
    return float(value) if value.isdecimal() else 0.0


def _name_of(error: Exception) -> str:
    """For the log: never the text, which holds addresses."""
    status = f" {error.response.status_code}" if isinstance(error, HfHubHTTPError) else ""
    return f"{type(error).__name__}{status}"
