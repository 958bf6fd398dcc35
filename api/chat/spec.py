"""What is asked of a chat: OpenAI's parameters and ours, by OpenAI's names. See api/specs.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Required, TypedDict

from api.specs import Spec, make_batch_key, param

LARGEST_SEED = 2**63 - 1
"""OpenAI's: clients draw 64 bits."""
LARGEST_COUNT = 1_000_000
BACKENDS = ("auto", "pytorch", "onnx", "remote")
AUTO, DISABLED = "auto", "disabled"
MOST_MESSAGES = 1_000
MOST_STOPS, LONGEST_STOP = 4, 200
MOST_TOOLS = 128
MOST_BIASES, LARGEST_BIAS = 1_000, 100
MAXIMUM_LENGTH, TOO_LONG = "This model's maximum context length is", "The prompt is too long"
"""The words by which clients know that a chat is too long: LiteLLM and Pydantic AI by OpenAI's, LangChain by the others."""
MOST_TOOL_TURNS, MOST_TOOL_CALLS = 16, 128


CUT_CALL = "cut_call"


class PartParams(TypedDict, total=False):
    """`{"type": "text", "text"}`, `{"type": "image", "image": id, "detail"}`, of an assistant `{"type": "tool_call", "id", "name",
    "arguments"}` and `{"type": "cut_call", "name", "arguments"}` (it broke off, and only people are shown it), or of a tool
    `{"type": "tool_result", "id", "name"}`, which says whose result the turn's texts are. A call that this server ran has `job`, the id
    of its child job; '' where there was none, and then `error`.
    """

    type: Required[str]
    text: str
    image: str
    detail: str
    id: str
    name: str
    arguments: str
    job: str
    error: str


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
class WritingSpec(Spec):
    """What chats and completions have in common: which model writes, and how its tokens are drawn."""

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
    repetition_penalty: float | None = number(1e-7, 10)
    logit_bias: Mapping[str, float] | None = param(default=None, shared=False, omitted=True, max_items=MOST_BIASES)
    user: str = param(default="", shared=False, max_length=256, blank=True)

    @property
    def loaded_id(self) -> str:
        """What the loader is asked for: the model, and which variant of it."""
        return f"{self.model}@{self.variant}" if self.variant else self.model

    @property
    def history_model(self) -> str:
        return self.model

    def batch_key(self) -> str:
        """One for both kinds: what a model writes for chats and for completions is written together."""
        return make_batch_key("chat", ["chat", self.shared_values()])


@dataclass(frozen=True, kw_only=True)
class ChatSpec(WritingSpec):
    """A request for answers to a conversation, with all that the model is told."""

    kind = "chat"

    messages: tuple[TurnParams, ...] = param(shared=False, min_items=1, max_items=MOST_MESSAGES)
    logprobs: bool | None = param(default=None, shared=False, omitted=True)
    top_logprobs: int | None = number(0, 20)
    response_format: Mapping[str, Any] | None = param(default=None, shared=False)
    tools: tuple[Mapping[str, Any], ...] | None = param(default=None, shared=False, omitted=True, max_items=MOST_TOOLS)
    tool_choice: str | Mapping[str, Any] | None = param(default=None, shared=False, omitted=True)
    parallel_tool_calls: bool | None = param(default=None, shared=False, omitted=True)
    server_tools: tuple[str, ...] | None = param(
        default=None,
        shared=False,
        omitted=True,
        max_items=20,
        max_length=64,
        help="Tools that this server runs itself where the model calls them: find_objects, read_text, judge_layout, make_picture. "
        "Each call is a job; the answer comes when the model has read their results.",
    )
    max_tool_turns: int | None = param(
        default=None,
        shared=False,
        omitted=True,
        minimum=1,
        maximum=MOST_TOOL_TURNS,
        help="So often the model may call the server's tools before it must answer; 4 where it isn't said.",
    )
    max_tool_calls: int | None = param(
        default=None,
        shared=False,
        omitted=True,
        minimum=1,
        maximum=MOST_TOOL_CALLS,
        help="So many calls of the server's tools are run, in all turns together; others are refused, and the model must answer.",
    )
    truncation: str | None = param(
        default=None,
        shared=False,
        omitted=True,
        choices=(AUTO, DISABLED),
        help="auto: the oldest messages are left out, with a warning, until the rest fits the model; disabled: a chat that is too long "
        "is an error.",
    )
    metadata: Mapping[str, str] = param(decided=True, shared=False, max_items=16, max_name_length=64, max_length=512)

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
