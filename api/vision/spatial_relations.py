"""Whether one thing stands left of, right of, above or below another."""

from api.vision.detection import Found


def stands(one: Found, direction: str, other: Found) -> bool:
    """By the middles of their boxes."""
    (x, y), (other_x, other_y) = middle(one), middle(other)
    return {"left": x < other_x, "right": x > other_x, "above": y < other_y, "below": y > other_y}[direction]


def middle(one: Found) -> tuple[float, float]:
    return (one.box.xmin + one.box.xmax) / 2, (one.box.ymin + one.box.ymax) / 2
