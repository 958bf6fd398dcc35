"""What a chat model may have made."""

from api.images.serializers import Txt2ImgSerializer
from api.jobs.models import Job
from api.runtime.server_tools import Report, ServerTool


def report_pictures(job: Job) -> Report:
    images = (job.result or {})["images"]
    made = [{name: image[name] for name in ("width", "height", "seed")} for image in images]
    return Report({"made": made}, tuple(image["id"] for image in images))


MAKE_PICTURE = ServerTool(
    # without sizes: a small model asks for 2,000 pixels as readily as for 200
    name="make_picture",
    description="Makes a picture of what a text describes, and shows it in the conversation.",
    serializer=Txt2ImgSerializer,
    report=report_pictures,
    properties={
        "prompt": {"type": "string", "minLength": 1, "maxLength": 500, "description": "What the picture shows."},
        "negative_prompt": {"type": "string", "maxLength": 300, "description": "What it does not show."},
    },
    required=("prompt",),
    looks_at_picture=False,
)
