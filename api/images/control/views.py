"""Control maps over HTTP."""

from api.images.control.serializers import PreprocessSerializer
from api.jobs.api.dialect import SubmitView


class PreprocessView(SubmitView):
    """Make a control map of a picture, to look at it, or to change it before a request uses it in `control`.

    The job's result has the map as its one of `images`, of the picture's size. A request that names a `preprocessor` in `control`
    makes the same map by itself.
    """

    serializer_class = PreprocessSerializer
