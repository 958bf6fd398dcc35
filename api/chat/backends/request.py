"""The request to a chat backend, its result, and its callbacks. No torch, no Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from api.chat.tools.use import ToolUse
from api.errors import DarkroomError
from api.json_types import JsonObject


class ChatTooLarge(DarkroomError):
    """Memory ran out for this chat alone."""

    def __init__(self) -> None:
        detail = "Memory ran out while the answer was written: ask for fewer choices, or shorten the messages."
        super().__init__("out_of_memory", 507, detail)


@dataclass(frozen=True)
class MessagePart:
    """A text or an image. `detail` (low, auto, high): the resolution at which an image is encoded."""

    text: str = ""
    image: Image.Image | None = None
    detail: str = "auto"


@dataclass(frozen=True)
class ToolCall:
    """`arguments`: JSON, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Turn:
    role: str
    """system, user, assistant or tool"""
    parts: tuple[MessagePart, ...]
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    answers: ToolCall | None = None
    """Of a tool's turn: the call whose result it is."""

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if part.image is None)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling parameters. None: the value of the model's generation_config."""

    temperature: float | None = None
    """0 is greedy decoding."""
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    """Tokens below this share of the most likely token's probability are excluded."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float | None = None
    """As in CTRL: logits of tokens in the prompt or the answer are divided by it (multiplied if negative)."""
    logit_bias: Mapping[str, float] = field(default_factory=dict)
    """By token id: what is added to its logit."""
    seed: int = 0
    """Sequence i has a generator of its own, seeded with seed + i."""
    max_tokens: int | None = None
    default_max_tokens: int = 1024
    """The limit for requests without `max_tokens`; the context may allow less."""
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    text_offsets: bool = False
    """Whether the entry of each token also has `offset`: where its text begins in the answer."""
    schema: JsonObject | None = None
    """A JSON Schema that the answer fits; {} is any JSON object. None: free text."""


@dataclass
class PromptScores:
    """How likely each token of a prompt is, which the backend fills in: entries in OpenAI's form by the token's place.

    The first token has no log-probability, since nothing is before it.
    """

    top_logprobs: int = 0
    entries: dict[int, JsonObject] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    """Where the text of each begins."""

    @property
    def in_order(self) -> list[JsonObject]:
        return [{**entry, "offset": self.offsets[place]} for place, entry in sorted(self.entries.items())]


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """Turns, or a raw `prompt` (a text, or token ids) that is written on as it is."""

    model_id: str
    turns: tuple[Turn, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    scores: PromptScores | None = None
    """Where they are wanted of a raw prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    owner: str = ""
    """The prompt cache is not shared between owners."""
    tool_use: ToolUse | None = None

    @property
    def images(self) -> list[Image.Image]:
        return [part.image for turn in self.turns for part in turn.parts if part.image is not None]


@dataclass
class WrittenCall:
    """A tool call of an answer, as far as it is written."""

    name: str
    arguments: str = ""


@dataclass
class Completion:
    """One answer, complete or partial. `logprobs`: an entry for each token, in OpenAI's form."""

    text: str = ""
    finish_reason: str = ""
    """stop, length, tool_calls or content_filter; '' while it is generated"""
    completion_tokens: int = 0
    calls: list[WrittenCall] = field(default_factory=list)
    logprobs: list[JsonObject] = field(default_factory=list)
    broken_off: str = ""
    """What was written of a call that had to come, and broke off before its arguments."""


@dataclass
class ChatResult:
    choices: list[Completion]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that came from the prompt cache."""
    dropped_tokens: int = 0
    """Of answers that were written and are no choices."""
    model: str = ""
    """The name under which the backend knows the model."""


class ChatCallbacks(Protocol):
    """Called while a chat is generated."""

    def on_text(self, index: int, text: str, logprobs: list[JsonObject]) -> None:
        """The next text of choice `index`; can be '' with logprobs alone. Never part of a stop string."""

    def on_call(self, index: int, number: int, name: str, arguments: str) -> None:
        """The next piece of the arguments of call `number` of choice `index`. First comes one for each call with ''."""

    def cancelled(self) -> bool:
        """True if the chat should stop. Called at every token."""

    def on_end(self, reply: ChatResult) -> None: ...

    def on_error(self, error: DarkroomError) -> None: ...
