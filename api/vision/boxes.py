"""A box in a picture. No Django, no torch."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Box:
    """In pixels, x to the right and y down, of the picture as a person sees it."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float

    def as_json(self) -> dict[str, float]:
        """To a hundredth of a pixel."""
        return {name: round(value, 2) for name, value in asdict(self).items()}
