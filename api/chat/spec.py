"""What is asked of a chat: OpenAI's parameters and ours, by OpenAI's names. See api/specs.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Required, TypedDict

from api.specs import Spec, param

LARGEST_SEED = 2**53
LARGEST_COUNT = 1_000_000
BACKENDS = ("auto", "pytorch", "onnx", "remote")
AUTO, DISABLED = "auto", "disabled"
MOST_MESSAGES = 1_000
MOST_STOPS, LONGEST_STOP = 4, 200
MOST_TOOLS = 128


class PartParams(TypedDict, total=False):
    """`{"type": "text", "text"}`, `{"type": "image", "image": id, "detail"}`, of an assistant `{"type": "tool_call", "id", "name",
    "arguments"}`, or of a tool `{"type": "tool_result", "id", "name"}`, which says whose result the turn's texts are.
    """

    type: Required[str]
    text: str
    image: str
    detail: str
    id: str
    name: str
    arguments: str


class TurnParams(TypedDict):
    role: str
    parts: list[PartParams]


def text_of(turn: TurnParams, gap: str = "\n") -> str:
    """Chat templates may put no gap between parts."""
    return gap.join(part["text"] for part in turn["parts"] if part["type"] == "text")


def images_of(turns: Iterable[TurnParams]) -> list[str]:
    return [part["image"] for turn in turns for part in turn["parts"] if part["type"] == "image"]


def calls_of(turn: TurnParams) -> list[PartParams]:
    return [part for part in turn["parts"] if part["type"] == "tool_call"]


def answered_call(turn: TurnParams) -> PartParams | None:
    """The call whose result a tool's turn is."""
    return next((part for part in turn["parts"] if part["type"] == "tool_result"), None)


def number(minimum: float, maximum: float) -> Any:
    """Where it is not given, the model's own value counts."""
    return param(default=None, omitted=True, shared=False, minimum=minimum, maximum=maximum)


@dataclass(frozen=True, kw_only=True)
class ChatSpec(Spec):
    """A request for answers to a conversation, with all that the model is told."""

    kind = "chat"

    messages: tuple[TurnParams, ...] = param(shared=False, min_items=1, max_items=MOST_MESSAGES)
    model: str = param(decided=True, shared=True, max_length=200)
    backend: str = param(decided=True, shared=True, choices=BACKENDS)
    variant: str | None = param(default=None, shared=True, internal=True)
    temperature: float | None = number(0, 2)
    top_p: float | None = number(0, 1)
    top_k: int | None = number(-1, LARGEST_COUNT)
    min_p: float | None = number(0, 1)
    max_tokens: int | None = param(default=None, shared=False, minimum=1, maximum=LARGEST_COUNT)
    stop: tuple[str, ...] | None = param(
        default=None, shared=False, omitted=True, max_items=MOST_STOPS, max_length=LONGEST_STOP
    )
    n: int | None = number(1, 8)
    seed: int = param(decided=True, shared=False, minimum=-LARGEST_SEED, maximum=LARGEST_SEED)
    presence_penalty: float | None = number(-2, 2)
    frequency_penalty: float | None = number(-2, 2)
    repetition_penalty: float | None = number(0.01, 10)
    logprobs: bool | None = param(default=None, shared=False, omitted=True)
    top_logprobs: int | None = number(0, 20)
    response_format: Mapping[str, Any] | None = param(default=None, shared=False)
    tools: tuple[Mapping[str, Any], ...] | None = param(default=None, shared=False, omitted=True, max_items=MOST_TOOLS)
    tool_choice: str | Mapping[str, Any] | None = param(default=None, shared=False, omitted=True)
    parallel_tool_calls: bool | None = param(default=None, shared=False, omitted=True)
    truncation: str | None = param(
        default=None,
        shared=False,
        omitted=True,
        choices=(AUTO, DISABLED),
        help="auto: the oldest messages are left out, with a warning, until the rest fits the model; disabled: a chat that is too long "
        "is an error.",
    )
    user: str = param(default="", shared=False, max_length=256, blank=True)
    metadata: Mapping[str, str] = param(decided=True, shared=False, max_items=16, max_name_length=64, max_length=512)

    @property
    def loaded_id(self) -> str:
        """What the loader is asked for: the model, and which variant of it."""
        return f"{self.model}@{self.variant}" if self.variant else self.model

    @property
    def history_model(self) -> str:
        return self.model

    @property
    def history_prompt(self) -> str:
        """The last question."""
        asked = [text_of(turn) for turn in self.messages if turn["role"] == "user"]
        return (asked[-1] if asked else "")[:2000]

    @property
    def asking_texts(self) -> dict[str, tuple[str, ...]]:
        """All but earlier answers (`claimed_texts`); and the form and the tools of the answer, which may spell it out."""
        turns = [turn for turn in self.messages if turn["role"] != "assistant"]
        asked = [text_of(turn, gap=gap) for turn in turns for gap in ("\n", "")]
        form = [json.dumps(one, ensure_ascii=False) for one in (self.response_format, self.tools) if one]
        as_written: tuple[str, ...] = ()
        return dict.fromkeys([*asked, *form], as_written)

    @property
    def claimed_texts(self) -> tuple[str, ...]:
        turns = [turn for turn in self.messages if turn["role"] == "assistant"]
        calls = [call["arguments"] for turn in turns for call in calls_of(turn)]
        return tuple(dict.fromkeys([*map(text_of, turns), *calls]))

    @property
    def input_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(images_of(self.messages)))
