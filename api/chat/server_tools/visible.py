"""What a client sees of turns in which the server's tools were called: one answer, with all that the model wrote."""

from collections.abc import Iterable

from api.chat.spec import TurnParams, answered_call, calls_of, text_of

BETWEEN = "server_tools"
"""The finish_reason of the messages between a question and its answer."""
GAP = "\n\n"
"""Between what the model wrote before a call, and after it."""


def join_texts(*texts: str) -> str:
    return GAP.join(text for text in texts if text)


def is_between(turn: TurnParams) -> bool:
    """Whether its calls were the server's to run, so that another turn of the same answer follows."""
    return any("job" in call for call in calls_of(turn))


def visible_turns(turns: Iterable[TurnParams]) -> list[TurnParams]:
    """A client that sends the whole conversation each time sends these."""
    found: list[TurnParams] = []
    own: set[str] = set()
    before = ""
    for turn in turns:
        answered = answered_call(turn)
        if is_between(turn):
            own |= {call["id"] for call in calls_of(turn)}
            before = join_texts(before, text_of(turn))
        elif answered is None or answered["id"] not in own:
            if before and turn["role"] == "assistant":
                said = {"type": "text", "text": join_texts(before, text_of(turn))}
                turn, before = {"role": "assistant", "parts": [said, *calls_of(turn)]}, ""  # type: ignore[list-item]
            found.append(turn)
    return found
