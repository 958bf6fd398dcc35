"""What a chat model may have judged."""

from api.jobs.models import Job
from api.runtime.server_tools import Report, ServerTool
from api.scoring.serializers import ScoreSerializer

SCORES = ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score")


def report_scores(job: Job) -> Report:
    result = job.result or {}
    scores = {name: result[name] for name in SCORES if result[name] is not None}
    return Report({**scores, "reasoning": result["reasoning"]})


JUDGE_LAYOUT = ServerTool(
    name="judge_layout",
    description="Judges the layout of a page, poster or screenshot by its picture. Tells scores, higher is better, and reasons.",
    serializer=ScoreSerializer,
    report=report_scores,
)
