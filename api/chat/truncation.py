"""`truncation: auto`: a chat that is too long for its model loses its oldest messages."""

from collections.abc import Callable
from dataclasses import replace

from api.chat.backends.request import ChatRequest, Turn
from api.errors import DarkroomError

SHARE = 10
"""Of the messages that are left, one in so many goes before the rest is measured again: that takes time, with pictures above all."""


def admit_what_fits(request: ChatRequest, admit: Callable[[ChatRequest], None]) -> int:
    """How many of the oldest messages were left out. Raises DarkroomError where the last question alone is too long."""
    turns = request.turns
    while True:
        try:
            admit(replace(request, turns=turns))
        except DarkroomError as error:
            shorter = without_oldest(turns) if error.code == "context_length_exceeded" else None
            if shorter is None:
                raise
            turns = shorter
        else:
            return len(request.turns) - len(turns)


def without_oldest(turns: tuple[Turn, ...]) -> tuple[Turn, ...] | None:
    """System messages at the beginning stay, and what is left begins with a question: templates want one, and results their calls.

    None where that would leave nothing out.
    """
    head = next((place for place, turn in enumerate(turns) if turn.role != "system"), len(turns))
    least = head + max(1, (len(turns) - head) // SHARE)
    questions = [place for place in range(head + 1, len(turns)) if turns[place].role == "user"]
    if not questions:
        return None
    cut = next((place for place in questions if place >= least), questions[-1])
    return turns[:head] + turns[cut:]
