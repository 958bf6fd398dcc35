"""Where things lie in an overlay: how large the picture is measured and drawn, and at which place. No Django, no NumPy."""

LONG_SIDE = 640
"""Of a picture as it is measured."""
PANEL, GAP, LEAST_VIEW, SHORTEST = 264, 16, 420, 520
"""The panel's width; the space around it and the picture; the least long side of the picture; the least height without that space."""

Size = tuple[int, int]


def page_size(width: int, height: int) -> Size:
    """Of a picture as it is measured."""
    return scaled((width, height), min(1.0, LONG_SIDE / max(width, height)))


def view_size(page: Size) -> Size:
    """Of a measured picture as it is drawn."""
    return scaled(page, max(1.0, LEAST_VIEW / max(page)))


def scaled(size: Size, factor: float) -> Size:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def canvas_size(view: Size) -> Size:
    return view[0] + PANEL + 3 * GAP, max(view[1], SHORTEST) + 2 * GAP


def view_place(view: Size) -> tuple[int, int]:
    """Left and top of the drawn picture."""
    return GAP, GAP + (canvas_size(view)[1] - 2 * GAP - view[1]) // 2
