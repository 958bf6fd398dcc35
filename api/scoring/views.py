"""Scores over HTTP."""

from api.jobs.submission import SubmitView
from api.scoring.serializers import ScoreBatchSerializer, ScoreSerializer


class ScoreView(SubmitView):
    """Judge a layout: a picture of it, its Tailwind classes and texts, or both.

    The job's result has `aesthetic_score`, `composition_score`, `color_harmony_score` and `balance_score` (0-100, null where
    nothing speaks for or against), `reasoning` (sentences, the worst first), `measures` (each with its `value`, its own `score`
    from 0 to 100 and its `band`), `scored` (what counted: image, variant), `backend`, `model`, `device`, `duration` (seconds)
    and, with an image, `overlay_url`: what was seen, drawn over the picture.
    """

    serializer_class = ScoreSerializer


class ScoreBatchView(SubmitView):
    """Judge up to 64 layouts as one job. A picture that several share is looked at once. The result has `scores`, in order."""

    serializer_class = ScoreBatchSerializer
