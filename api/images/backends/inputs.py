"""The source picture and mask of a request, brought to the size that is made. No torch."""

from __future__ import annotations

from PIL import Image, ImageOps

from api.images.backends.request import ImageRequest


def source_image(request: ImageRequest) -> Image.Image:
    """RGB, width × height: scaled to cover, cropped at the centre, transparency laid on white."""
    assert request.image is not None
    return ImageOps.fit(_flatten(request.image), (request.width, request.height), Image.Resampling.LANCZOS)


def source_mask(request: ImageRequest) -> Image.Image:
    """L, width × height, cut exactly as the picture is; a mask of another size is first stretched onto the picture."""
    assert request.image is not None
    assert request.mask is not None
    mask = request.mask.convert("L").resize(request.image.size, Image.Resampling.BILINEAR)
    return ImageOps.fit(mask, (request.width, request.height), Image.Resampling.BILINEAR)


def keep_outside_mask(made: Image.Image, request: ImageRequest) -> Image.Image:
    """The picture that was made, with the source's own pixels where the mask is black; grey mixes the two.

    The latents alone don't keep them: the autoencoder changes every pixel a little on the way there and back.
    """
    return Image.composite(made, source_image(request), source_mask(request))


def _flatten(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
