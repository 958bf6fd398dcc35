"""One answer in several turns, as the turn that is written next sees it."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from api.chat.server_tools.offer import InSight, definitions
from api.chat.server_tools.turns import Progress, read_progress
from api.chat.spec import ChatSpec, TurnParams, images_of
from api.chat.tools.use import AUTO, NONE, ToolUse, tool_use_of
from api.jobs.models import Job

DEFAULT_TURNS = 4
USED_UP = "Tools were called in all {most} turns that max_tool_turns allows; then the model had to answer."

CALLS_USED_UP = "All {most} calls of tools that max_tool_calls allows were made; then the model had to answer."


class Dialogue:
    """Asks the database where the request has tools of the server's."""

    def __init__(self, job: Job, spec: ChatSpec) -> None:
        self.spec = spec
        self.given = images_of(spec.messages)
        self.progress = read_progress(job, len(self.given)) if spec.server_tools else Progress()

    @property
    def written(self) -> int:
        """Turns that have been written."""
        return len(self.progress.turns)

    @property
    def most_turns(self) -> int:
        return self.spec.max_tool_turns or DEFAULT_TURNS

    @cached_property
    def names(self) -> frozenset[str]:
        """The server's tools that this turn may call: none in the last."""
        is_over = self.written >= self.most_turns or self.calls_left == 0
        return frozenset() if is_over else frozenset(self.spec.server_tools or ())

    @property
    def calls_left(self) -> int | None:
        """None: as many as there are turns for."""
        most = self.spec.max_tool_calls
        return None if most is None else max(0, most - self.calls_before)

    @property
    def used_up(self) -> str:
        """What has ended the calls."""
        if self.calls_left == 0:
            return CALLS_USED_UP.format(most=self.spec.max_tool_calls)
        return USED_UP.format(most=self.most_turns)

    @property
    def is_used_up(self) -> bool:
        return bool(self.spec.server_tools) and not self.names

    @property
    def pictures(self) -> list[str]:
        """Of the conversation, those that were made in this answer last."""
        return [*self.given, *self.progress.pictures]

    @property
    def turns(self) -> list[TurnParams]:
        """All that the model reads."""
        return [*self.spec.messages, *self.progress.said]

    @property
    def tool_use(self) -> ToolUse | None:
        """What a request demands of its tools, its first turn does; afterwards the model may answer."""
        own = definitions(sorted(self.names), InSight.of(self.turns)) if self.names else []
        tools = [*(self.spec.tools or ()), *own]
        choice = self.spec.tool_choice if not self.written else relaxed(self.spec.tool_choice)
        return tool_use_of(tools, choice, self.spec.parallel_tool_calls)

    @property
    def tokens_left(self) -> int | None:
        """Of the request's limit, which is for all turns together. None: the server's own counts, for each."""
        spent = sum(turn.completion_tokens for turn in self.progress.turns)
        return None if self.spec.max_tokens is None else self.spec.max_tokens - spent

    @property
    def calls_before(self) -> int:
        return len(self.progress.results)


def relaxed(choice: Any) -> Any:
    if isinstance(choice, Mapping) and choice["type"] == "allowed_tools":
        return {**choice, "allowed_tools": {**choice["allowed_tools"], "mode": AUTO}}
    return NONE if choice == NONE else AUTO
