"""What of Compel's `.blend(…)` and `.and(…)` was not read as such, and what of it makes no picture.  [torch]"""

import re
from collections.abc import Iterator

from compel.prompt_parser import Blend, Conjunction

from api.images.prompt_notation import MOST_SHOWN, shorten
from api.images.prompt_syntax.extreme_weights import LARGEST_USUAL

CALL = re.compile(r"\.\s*(?:blend|and|swap)\s*\([^()]*\)?", re.IGNORECASE)
"""What Compel can't read it leaves in the words."""


def describe_mixing(conjunction: Conjunction, words: str) -> Iterator[str]:
    """Sentences for the job's warnings. `words`: what is encoded."""
    for call in CALL.findall(words)[:MOST_SHOWN]:
        yield f"{shorten(call)} is read as words: its weights must be plain numbers, such as 0.5, directly behind quoted prompts."
    for weight in [weight for weight in weights_of(conjunction) if abs(weight) > LARGEST_USUAL][:MOST_SHOWN]:
        yield f"A part of the prompt has the weight {weight:.3g}; beyond {LARGEST_USUAL} what is made is mostly noise."


def weights_of(conjunction: Conjunction) -> list[float]:
    """Of the parts, but for those of a blend that brings them to a sum of 1."""
    blends = [part for part in conjunction.prompts if isinstance(part, Blend) and not part.normalize_weights]
    return [*conjunction.weights, *(weight for blend in blends for weight in blend.weights)]
