"""What a chat model may have found and read in a picture."""

from collections.abc import Sequence
from typing import Any

from api.jobs.models import Job
from api.runtime.server_tools import Report, ServerTool
from api.vision.serializers import DetectSerializer, OcrSerializer

MOST_OBJECTS = 30
LONGEST_TEXT = 3000
"""Characters of it that a model is told."""


def report_objects(job: Job) -> Report:
    result = job.result or {}
    found: Sequence[dict[str, Any]] = result["detections"]
    objects = [
        {"label": one["label"], "score": round(one["score"], 2), "box": [round(side) for side in one["box"].values()]}
        for one in found[:MOST_OBJECTS]
    ]
    left_out = {"left_out": len(found) - len(objects)} if len(found) > len(objects) else {}
    return Report({"width": result["width"], "height": result["height"], "objects": objects, **left_out})


def report_text(job: Job) -> Report:
    text = (job.result or {})["text"]
    return Report({"text": text[:LONGEST_TEXT], **({"left_out": len(text) - LONGEST_TEXT} if len(text) > LONGEST_TEXT else {})})


FIND_OBJECTS = ServerTool(
    name="find_objects",
    description="Finds things in a picture. Tells each one's label, score (0 to 1) and box: left, top, right and bottom in pixels.",
    serializer=DetectSerializer,
    report=report_objects,
    properties={
        "classes": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 40},
            "minItems": 1,
            "maxItems": 10,
            "description": "Look for these alone.",
        }
    },
)
READ_TEXT = ServerTool(
    name="read_text",
    description="Reads the text in a picture.",
    serializer=OcrSerializer,
    report=report_text,
    properties={
        "languages": {
            "type": "array",
            "items": {"type": "string", "minLength": 2, "maxLength": 35},
            "minItems": 1,
            "maxItems": 4,
            "description": "Codes of the languages that it may be in, such as en or vi; English where none is said.",
        }
    },
)
