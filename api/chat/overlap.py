"""How much of a text may be the beginning of a marker that is still coming."""


def overlap(text: str, marker: str) -> int:
    """The number of characters at the end of `text` that are the start of `marker`, and not all of it."""
    return next((size for size in range(min(len(text), len(marker) - 1), 0, -1) if text.endswith(marker[:size])), 0)
