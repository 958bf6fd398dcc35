"""Cutting out over HTTP."""

from api.jobs.api.dialect import SubmitView
from api.vision.cutout.serializers import CutoutSerializer


class CutoutView(SubmitView):
    """Cut the subject out of a picture: on a transparent ground, or as a mask."""

    serializer_class = CutoutSerializer
