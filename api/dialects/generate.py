"""The older generate server's API: `POST /generate`, over the same jobs as `/api/txt2img/`.

Its clients send `{"prompt", "negative_prompt", "height", "width", "steps", "guidance", "seed"}` and read `{"image_base64", "seed",
"clip_score"}` with status 200, or an error's `detail`. `clip_score` is `clip_score_hessel`; null where no CLIP scored the picture. What
else they send is left out here instead of refused. A client that leaves does not cancel its job: the picture is in the history.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponseBase
from rest_framework.request import Request

from api.dialects.older import OlderView
from api.images.serializers import Txt2ImgSerializer
from api.jobs.api.submission import LONGEST_WAIT

NAMES = {name: name for name in ("prompt", "negative_prompt", "height", "width", "steps", "seed")} | {
    "guidance": "guidance_scale"
}
"""Theirs, and ours."""
DRAWN = -1  # a seed that stands for none


class GenerateView(OlderView):
    """One picture and its seed and score, as the older generate server gave them."""

    serializer_class = Txt2ImgSerializer
    thing = "picture"
    prefer = f"wait={LONGEST_WAIT}"  # its clients know no 202, and that server had no limit

    def post(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        response: Any = super().post(request, **kwargs)
        response.include = frozenset({"base64"})
        return response  # type: ignore[no-any-return]

    @classmethod
    def translate_request(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        told = {ours: data[theirs] for theirs, ours in NAMES.items() if data.get(theirs) is not None}
        if told.get("seed") == DRAWN:
            del told["seed"]
        return told

    @classmethod
    def translate_result(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        image = result["images"][0]
        return {
            "image_base64": image["image_base64"],
            "seed": image["seed"],
            "clip_score": image["scores"].get("clip_score_hessel"),
        }

    @classmethod
    def translate_error(cls, data: Mapping[str, Any]) -> str:
        """The fields by their own names."""
        theirs = {ours: name for name, ours in NAMES.items()}
        errors = [error for error in data.get("errors", ()) if error["field"]]
        named = [f"{theirs.get(error['field'], error['field'])}: {error['detail']}" for error in errors]
        return " ".join(named) or super().translate_error(data)
