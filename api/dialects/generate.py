"""The older generate server's API: `POST /generate`, over the same jobs as `/api/txt2img/`.

Its clients send `{"prompt", "negative_prompt", "height", "width", "steps", "guidance", "seed"}` and read `{"image_base64", "seed",
"clip_score"}` with status 200, or an error's `detail`. `clip_score` is `clip_score_hessel`; null where no CLIP scored the picture.
`webhook` may be sent beside these, as to our own API. What else they send is left out here instead of refused. A client that leaves
does not cancel its job: the picture is in the history.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse

from api.dialects.older import OlderView
from api.images.serializers import Txt2ImgSerializer
from api.jobs.api.submission import LONGEST_WAIT
from api.jobs.models import Job
from api.problems import Problem

NAMES = {name: name for name in ("prompt", "negative_prompt", "height", "width", "steps", "seed", "webhook")} | {
    "guidance": "guidance_scale"
}
"""Theirs, and ours."""
DRAWN = -1  # a seed that stands for none


class GenerateView(OlderView):
    """One picture and its seed and score, as the older generate server gave them."""

    serializer_class = Txt2ImgSerializer
    source = "generate"
    thing = "picture"
    default_wait = LONGEST_WAIT  # its clients know no 202, and that server had no limit

    def translate_request(self, data: object) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = {ours: data[theirs] for theirs, ours in NAMES.items() if data.get(theirs) is not None}
        if fields.get("seed") == DRAWN:
            del fields["seed"]
        return fields

    def render(self, job: Job) -> HttpResponse:
        image = self.result(job, "base64")["images"][0]
        score = image["scores"].get("clip_score_hessel")
        return JsonResponse({"image_base64": image["image_base64"], "seed": image["seed"], "clip_score": score})

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        """The fields by their own names."""
        theirs = {ours: name for name, ours in NAMES.items()}
        errors = [error for error in problem["errors"] if error["field"]]
        named = " ".join(f"{theirs.get(error['field'], error['field'])}: {error['detail']}" for error in errors)
        return {"detail": named} if named else super().render_error(problem)
