"""The syntaxes by name, and which of them a prompt is written in."""

from collections.abc import Sequence

from api.images.prompt_notation import find_notation, shorten
from api.images.prompt_syntax.networks import take_networks

COMPEL, A1111, PLAIN, AUTO = "compel", "a1111", "plain", "auto"
SYNTAXES = (COMPEL, A1111, PLAIN, AUTO)


def detect_syntax(prompts: Sequence[str]) -> tuple[str, str]:
    """`a1111` and the first piece of that notation, or `compel` and ''. Adapters in a prompt don't decide it."""
    for prompt in prompts:
        if found := find_notation(take_networks(prompt)[0]):
            return A1111, shorten(found[0])
    return COMPEL, ""
