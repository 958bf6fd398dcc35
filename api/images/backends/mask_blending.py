"""How what a model painted under a mask is blended into the picture.  [no torch]"""

from PIL import Image, ImageFilter

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are outside."""


def soften(mask: Image.Image, blur: float) -> Image.Image:
    """`blur`: the Gaussian's standard deviation in pixels of the result."""
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def blend(canvas: Image.Image, painted: Image.Image, box: Box, mask: Image.Image) -> Image.Image:
    """`painted` laid on `box` of the canvas. Where the mask (L, as large as the canvas) is black the canvas keeps its own pixels, and grey
    mixes the two.

    The latents alone don't keep them: the autoencoder changes every pixel a little on the way there and back.
    """
    left, top, right, bottom = box
    if painted.size != (right - left, bottom - top):
        painted = painted.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    result = canvas.copy()
    result.paste(painted, box, mask.crop(box))
    return result
