"""Scores of layouts, with reasons."""

from typing import ClassVar

from api.dialects.mcp.following import Call
from api.dialects.mcp.pictures import show_pictures
from api.dialects.mcp.schemas import object_schema
from api.dialects.mcp.tools.base import NUMBER, TEXT, TEXTS, JobTool, Reply, Result, lines, tell_warnings
from api.jobs.models import Job
from api.scoring.serializers import ScoreSerializer

SCORES = ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score")


class JudgeLayout(JobTool):
    name = "judge_layout"
    title = "Judge a layout"
    description = (
        "Judges a layout (a screenshot or poster, its Tailwind classes and texts, or both): four scores from 0 to 100 with reasons, the "
        "worst first, and the picture with what was seen drawn over it."
    )
    serializer = ScoreSerializer
    fields = ("image", "variant", "event_data", "elements", "backend", "model_id")
    pictures = ("image",)
    texts: ClassVar = {
        "variant": "The layout's Tailwind classes.",
        "event_data": "The layout's texts.",
        "elements": "Boxes of what is in the picture, in its pixels, where they are known.",
    }
    output = object_schema(
        {
            "job": TEXT,
            **dict.fromkeys(SCORES, NUMBER),
            "reasoning": TEXTS,
            "backend": TEXT,
            "overlay_url": {"type": ["string", "null"]},
            "warnings": TEXTS,
        },
        ("job", *SCORES, "reasoning", "warnings"),
    )

    def show(self, job: Job, result: Result, call: Call) -> Reply:
        kept = {name: result[name] for name in (*SCORES, "reasoning", "backend", "overlay_url")}
        scores = "; ".join(f"{name.removesuffix('_score').replace('_', ' ')} {tell(result[name])}" for name in SCORES)
        sentences = [
            f"Job {job.pk}. Of 100: {scores}.",
            *(f"- {reason}" for reason in result["reasoning"]),
            tell_warnings(job.warnings),
        ]
        overlay = [result["overlay"]] if result["overlay"] else []
        return Reply(lines(sentences), {"job": str(job.pk), **kept, "warnings": list(job.warnings)}, show_pictures(overlay))


def tell(score: float | None) -> str:
    return "undecided" if score is None else f"{score:g}"
