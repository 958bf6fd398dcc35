"""What a chat backend is asked for, what it tells while it works, and how it fails. No torch, no Django."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from api.errors import DarkroomError


@dataclass(frozen=True)
class Part:
    """A text, or a picture; `detail` (low, auto, high) says how closely a picture is looked at."""

    text: str = ""
    image: Image.Image | None = None
    detail: str = "auto"


@dataclass(frozen=True)
class Turn:
    role: str
    """system, user or assistant"""
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if part.image is None)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen. None: as the model's own generation_config has it."""

    temperature: float | None = None
    """0 takes the likeliest token each time."""
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    """Tokens less likely than this share of the likeliest one's probability are left out."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    """CTRL's: the logits of tokens that the prompt or the answer has are divided by it (multiplied where negative)."""
    seed: int = 0
    """Choice i draws from a generator of its own, seeded with seed + i."""
    max_tokens: int | None = None
    default_max_tokens: int = 1024
    """For a request without `max_tokens`; the context may leave less."""
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    schema: dict[str, Any] | None = None
    """A JSON Schema that the answer fits; {} is any JSON object. None: free text."""


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    model_id: str
    turns: tuple[Turn, ...]
    sampling: Sampling = field(default_factory=Sampling)
    owner: str = ""
    """What is kept of a chat serves the chats of its owner alone."""

    @property
    def images(self) -> list[Image.Image]:
        return [part.image for turn in self.turns for part in turn.parts if part.image is not None]


@dataclass
class Choice:
    """One answer, as far as it is written. `logprobs`: a table for each token, in OpenAI's form."""

    text: str = ""
    finish_reason: str = ""
    """stop, length or content_filter; '' while it is written"""
    completion_tokens: int = 0
    logprobs: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Reply:
    choices: list[Choice]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of the prompt that didn't have to be read: an earlier chat began with them."""
    model: str = ""
    """The name under which the backend knows the model."""


class Listener(Protocol):
    """Who has asked; told of each piece of text as it is written."""

    def on_text(self, index: int, text: str, logprobs: list[dict[str, Any]]) -> None:
        """Text (possibly '', with logprobs alone) that choice `index` goes on with. Never part of a stop string."""

    def cancelled(self) -> bool:
        """Asked at every token."""

    def on_end(self, reply: Reply) -> None: ...

    def on_error(self, error: DarkroomError) -> None: ...
