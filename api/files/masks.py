"""How a mask is meant that somebody painted on transparency.  [no Django]"""

from PIL import Image

ONE_SHADE = 16
"""Of 255: how far the grey values of one colour lie apart once a lossy format has kept it."""


def has_its_shape_in_alpha(mask: Image.Image) -> bool:
    """Is this RGBA mask a stroke of one colour on transparency? Its colour, which may be black, then says nothing.

    Pixels that are hardly there are left out: their colours are rounded away.
    """
    alpha = mask.getchannel("A")
    levels = values_in(alpha.histogram())
    visible = alpha.point(lambda value: 255 if 2 * value >= levels[-1] else 0)
    shades = values_in(mask.convert("L").histogram(visible))
    return levels[0] < levels[-1] and shades[-1] - shades[0] <= ONE_SHADE


def values_in(histogram: list[int]) -> list[int]:
    return [value for value, count in enumerate(histogram) if count]
