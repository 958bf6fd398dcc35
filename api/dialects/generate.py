"""The older generate server's API: `POST /generate`, over the same jobs as `/api/txt2img/`.

Its clients send `{"prompt", "negative_prompt", "height", "width", "steps", "guidance", "seed"}` and read `{"image_base64", "seed",
"clip_score"}` with status 200, or an error's `detail`. `clip_score` is `clip_score_hessel`; null where no CLIP scored the picture. What
else they send is left out here instead of refused. A client that leaves does not cancel its job: the picture is in the history.
"""

from collections.abc import Mapping
from functools import update_wrapper
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from rest_framework.request import Request

from api.dialects.layout import KEPT_HEADERS
from api.images.serializers import Txt2ImgSerializer
from api.jobs.submission import LONGEST_WAIT, Submission, SubmitView

NAMES = {name: name for name in ("prompt", "negative_prompt", "height", "width", "steps", "seed")} | {
    "guidance": "guidance_scale"
}
"""Theirs, and ours."""
DRAWN = -1  # a seed that stands for none


class GenerateView(SubmitView):
    """One picture and its seed and score, as the older generate server gave them."""

    serializer_class = Txt2ImgSerializer
    schema = None

    def post(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        response: Any = super().post(request, **kwargs)
        response.include = frozenset({"base64"})
        return response  # type: ignore[no-any-return]

    def get_submission(self, request: Request, **kwargs: Any) -> Submission:
        context = {"request": request, "principal": request.auth}
        serializer = Txt2ImgSerializer(data=translate_request(request.data), context=context)
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)

        async def answer(request: HttpRequest) -> HttpResponseBase:
            request.META.setdefault(
                "HTTP_PREFER", f"wait={LONGEST_WAIT}"
            )  # its clients know no 202, and that server had no limit
            return translate_response(await view(request))

        wrapped = update_wrapper(answer, view)
        wrapped.csrf_exempt = True  # type: ignore[attr-defined]
        return wrapped


def translate_request(data: Any) -> Any:
    """Into the body of `/api/txt2img/`. A body that is no object stays what it is, to be refused."""
    if not isinstance(data, Mapping):
        return data
    told = {ours: data[theirs] for theirs, ours in NAMES.items() if data.get(theirs) is not None}
    if told.get("seed") == DRAWN:
        del told["seed"]
    return told


def translate_response(response: Any) -> HttpResponseBase:
    """A job that succeeded becomes 200 with its picture; one that is not ready in time 504; what went wrong a `detail`."""
    data = getattr(response, "data", None)
    if not isinstance(data, Mapping):
        return response  # type: ignore[no-any-return]
    if response.status_code == 201:
        translated = JsonResponse(translate_image(data["result"]["images"][0]))
    elif response.status_code == 202:
        translated = JsonResponse({"detail": "The picture is not ready yet.", "job": data["id"]}, status=504)
    else:
        translated = JsonResponse({"detail": translate_error(data)}, status=response.status_code)
    for name in KEPT_HEADERS:
        if name in response:
            translated[name] = response[name]
    return translated


def translate_image(image: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "image_base64": image["image_base64"],
        "seed": image["seed"],
        "clip_score": image["scores"].get("clip_score_hessel"),
    }


def translate_error(data: Mapping[str, Any]) -> str:
    """In one text, the fields by their own names."""
    theirs = {ours: name for name, ours in NAMES.items()}
    named = [
        f"{theirs.get(error['field'], error['field'])}: {error['detail']}" for error in data.get("errors", ()) if error["field"]
    ]
    return " ".join(named) or (data.get("error") or data).get("detail") or "The picture could not be made."
