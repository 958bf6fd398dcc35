"""The seeds of a request's pictures: one for each, and what of other seeds is mixed in.  [no Django, no torch]"""

from __future__ import annotations

from dataclasses import dataclass

from api.specs import param

LARGEST_SEED = 2**53 - 1
LONGEST_PICTURE_ID = 100
MOST_EARLIER = 16


@dataclass(frozen=True, kw_only=True)
class SeedShare:
    """A seed whose noise is mixed in, and how much of it."""

    seed: int = param(minimum=0, maximum=LARGEST_SEED)
    strength: float = param(minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """The picture that the request's pictures are near to: by its seed, or by its id here."""

    seed: int | None = param(default=None, minimum=0, maximum=LARGEST_SEED, help="Of the picture that is varied.")
    image: str | None = param(
        default=None,
        omitted=True,
        max_length=LONGEST_PICTURE_ID,
        help="The id of the picture that is varied. What made it stands for everything that the request leaves open.",
    )
    strength: float = param(minimum=0, maximum=1, help="0 is that picture again, 1 the one of the request's own seed.")
    earlier: tuple[SeedShare, ...] = param(
        default=(),
        max_items=MOST_EARLIER,
        help="Where that picture is itself a variation of `seed`: the seeds that were mixed in, in their order.",
    )


def seeds_of(first: int, count: int) -> tuple[int, ...]:
    """One for each picture that is made."""
    return tuple(first + index for index in range(count))


def mixed_seeds(own: int, variation: Variation | None) -> tuple[int, tuple[SeedShare, ...]]:
    """Of the picture with the seed `own`: the seed that its noise begins with, and those that are mixed in."""
    if variation is None or variation.strength == 1:
        return own, ()
    assert variation.seed is not None
    return variation.seed, (*variation.earlier, SeedShare(seed=own, strength=variation.strength))
