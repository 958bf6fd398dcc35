"""Enlarging over HTTP."""

from api.images.upscaling.serializers import UpscaleSerializer
from api.jobs.api.dialect import SubmitView


class UpscaleView(SubmitView):
    """Make a picture 2, 3 or 4 times as wide and high.

    The job's result has `images` with the one picture that was made and `source_image`, the id of the one that it was made from. A
    picture with transparency keeps it, in a format that has some.
    """

    serializer_class = UpscaleSerializer
