"""Vision over HTTP."""

from api.jobs.api.dialect import SubmitView
from api.vision.serializers import DetectSerializer


class DetectView(SubmitView):
    """Find things in a picture.

    The job's result has the picture's `width` and `height` and `detections`, the best score first: `label`, `class_id`, `score` and
    `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels of the picture as a person sees it). With `annotate` it has `annotated` too, the
    picture with the boxes drawn over it.
    """

    serializer_class = DetectSerializer
