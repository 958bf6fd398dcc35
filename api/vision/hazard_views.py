"""Hazards over HTTP."""

from api.jobs.api.dialect import SubmitView
from api.vision.hazard_spec import HazardSpec
from api.vision.hazards import HAZARD_CELLS
from api.vision.serializers import VisionSerializer


class HazardSerializer(VisionSerializer):
    spec = HazardSpec
    tasks = (HAZARD_CELLS,)
    can = "look for hazards"
    default_setting = "DEFAULT_HAZARD_MODEL"


class HazardsView(SubmitView):
    """Find the hazards on the way that a picture shows.

    The job's result has `cells`, the model's cells of interest that have a hazard: `index`, `box` (`xmin`, `ymin`, `xmax`, `ymax` in
    pixels of the picture as a person sees it), `position` (`side`: left, ahead or right; `distance`: near or far) and `labels`, each
    with its `score`. `risk` is high where a hazard is near and ahead, medium where one is near or ahead, low where all are far and to
    a side, and none where there is none. With `annotate` it has `annotated` too, the picture with these cells drawn over it. It is no
    safety device.
    """

    serializer_class = HazardSerializer
