"""The older layout server's API: `POST /score` and `GET /health`, in camelCase, over the same jobs as `/api/score/`.

Its clients send `{"image", "variant", "eventData"}` and read `{"aestheticScore", "compositionScore", "colorHarmonyScore",
"balanceScore", "reasoning"}` with status 200, or an error's `detail`. They send more than that server read, so what isn't known is
left out here instead of refused.
"""

import json
from collections.abc import Mapping
from functools import update_wrapper
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.jobs.submission import Submission, SubmitView
from api.scoring.scorers import DEFAULT
from api.scoring.serializers import EventDataSerializer, ScoreSerializer, VariantSerializer

NAMES = {
    "aestheticScore": "aesthetic_score",
    "compositionScore": "composition_score",
    "colorHarmonyScore": "color_harmony_score",
    "balanceScore": "balance_score",
}
UNDECIDED = 50.0  # what its clients, who expect numbers, read where nothing speaks for or against
KEPT_HEADERS = ("Retry-After", "WWW-Authenticate", "Location")


class LayoutScoreView(SubmitView):
    """A layout's four scores, as the older layout server gave them."""

    serializer_class = ScoreSerializer
    schema = None

    def get_submission(self, request: Request, **kwargs: Any) -> Submission:
        context = {"request": request, "principal": request.auth}
        serializer = ScoreSerializer(data=translate_request(request.data), context=context)
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)

        async def answer(request: HttpRequest) -> HttpResponseBase:
            return translate_response(await view(request))

        wrapped = update_wrapper(answer, view)
        wrapped.csrf_exempt = True  # type: ignore[attr-defined]
        return wrapped


class LayoutHealthView(APIView):
    """The process answers."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    schema = None

    def get(self, request: Request) -> Response:
        return Response({"status": "healthy", "model": DEFAULT, "device": "cpu"})


def translate_request(data: Any) -> Any:
    """Into the body of `/api/score/`. A body that is no object stays what it is, to be refused."""
    if not isinstance(data, Mapping):
        return data
    event = data.get("eventData", data.get("event_data"))
    known = {"variant": pick(data.get("variant"), VariantSerializer), "event_data": pick(event, EventDataSerializer)}
    return {**known, "image": data["image"]} if data.get("image") else known


def pick(value: Any, serializer: Any) -> dict[str, str]:
    """The texts that we read of an object (JSON in a form); '' for what is null."""
    if isinstance(value, str):
        value = read_object(value)
    if not isinstance(value, Mapping):
        return {}
    return {name: value[name] for name in serializer().fields if isinstance(value.get(name), str)}


def read_object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def translate_response(response: Any) -> HttpResponseBase:
    """A job that succeeded becomes 200 with its scores; one that is not ready in time 504; what went wrong a `detail`."""
    data = getattr(response, "data", None)
    if not isinstance(data, Mapping):
        return response  # type: ignore[no-any-return]
    if response.status_code == 201:
        translated = JsonResponse(translate_scores(data["result"]))
    elif response.status_code == 202:
        translated = JsonResponse({"detail": "The score is not ready yet.", "job": data["id"]}, status=504)
    else:
        detail = (data.get("error") or data).get("detail") or "The layout could not be scored."
        translated = JsonResponse({"detail": detail}, status=response.status_code)
    for name in KEPT_HEADERS:
        if name in response:
            translated[name] = response[name]
    return translated


def translate_scores(result: Mapping[str, Any]) -> dict[str, Any]:
    overall = result["aesthetic_score"]
    instead = UNDECIDED if overall is None else overall
    scores = {name: instead if result[ours] is None else result[ours] for name, ours in NAMES.items()}
    return {**scores, "reasoning": " ".join(result["reasoning"])}
