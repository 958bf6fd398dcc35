"""What a chat model may have made."""

from api.images.serializers import Txt2ImgSerializer
from api.jobs.models import Job
from api.runtime.server_tools import Report, ServerTool

SIDE = {"type": "integer", "minimum": 64, "maximum": 2048, "multipleOf": 8}


def report_pictures(job: Job) -> Report:
    images = (job.result or {})["images"]
    made = [{name: image[name] for name in ("width", "height", "seed")} for image in images]
    return Report({"made": made}, tuple(image["id"] for image in images))


MAKE_PICTURE = ServerTool(
    name="make_picture",
    description="Makes a picture of what a text describes, and shows it in the conversation.",
    serializer=Txt2ImgSerializer,
    report=report_pictures,
    properties={
        "prompt": {"type": "string", "minLength": 1, "maxLength": 500, "description": "What the picture shows."},
        "negative_prompt": {"type": "string", "maxLength": 300, "description": "What it does not show."},
        "width": SIDE,
        "height": SIDE,
    },
    required=("prompt",),
    looks_at_picture=False,
)
