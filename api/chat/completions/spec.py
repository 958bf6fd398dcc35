"""What is asked of a completion: texts that a model writes on, without a chat template, by OpenAI's older names."""

from __future__ import annotations

from dataclasses import dataclass

from api.chat.spec import LARGEST_COUNT, WritingSpec, number
from api.specs import param

MOST_PROMPTS = 128
MOST_LOGPROBS = 5
MOST_CANDIDATES = 20


@dataclass(frozen=True, kw_only=True)
class RawPrompt:
    """A text; or token ids, with what they say in `text`."""

    text: str
    tokens: tuple[int, ...] | None = param(default=None, omitted=True)


@dataclass(frozen=True, kw_only=True)
class CompletionSpec(WritingSpec):
    """A request to write on what was begun."""

    kind = "completion"

    raw_prompts: tuple[RawPrompt, ...] = param(shared=False, internal=True)
    """What the client's `prompt` comes to."""
    max_tokens: int = param(default=16, shared=False, minimum=0, maximum=LARGEST_COUNT)
    echo: bool = param(default=False, shared=False, help="The prompt first, then what is written.")
    logprobs: int | None = number(0, MOST_LOGPROBS)
    best_of: int | None = number(1, MOST_CANDIDATES)

    @property
    def choices_of_each(self) -> int:
        return self.n or 1

    @property
    def candidates(self) -> int:
        """Of each prompt: the `choices_of_each` likeliest are kept."""
        return max(self.best_of or 1, self.choices_of_each)

    @property
    def history_prompt(self) -> str:
        return self.raw_prompts[0].text[:2000]

    @property
    def asking_texts(self) -> dict[str, tuple[str, ...]]:
        as_written: tuple[str, ...] = ()
        return dict.fromkeys([prompt.text for prompt in self.raw_prompts], as_written)
