"""The older layout server's API: `POST /score` and `GET /health`, in camelCase, over the same jobs as `/api/score/`.

Its clients send `{"image", "variant", "eventData"}` and read `{"aestheticScore", "compositionScore", "colorHarmonyScore",
"balanceScore", "reasoning"}` with status 200, or an error's `detail`. `webhook` may be sent beside these, as to our own API. They send
more than that server read, so what isn't known is left out here instead of refused.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.dialects.older import OlderView
from api.jobs.models import Job
from api.scoring.scorers import DEFAULT
from api.scoring.serializers import EventDataSerializer, ScoreSerializer, VariantSerializer
from api.strict import parse_json_text

NAMES = {
    "aestheticScore": "aesthetic_score",
    "compositionScore": "composition_score",
    "colorHarmonyScore": "color_harmony_score",
    "balanceScore": "balance_score",
}
UNDECIDED = 50.0  # what its clients, who expect numbers, read where nothing speaks for or against


class LayoutScoreView(OlderView):
    """A layout's four scores, as the older layout server gave them."""

    serializer_class = ScoreSerializer
    source = "layout"
    thing = "score"

    def translate_request(self, data: object) -> Any:
        if not isinstance(data, Mapping):
            return data
        event = data.get("eventData", data.get("event_data"))
        known = {
            "variant": pick("variant", data.get("variant"), VariantSerializer),
            "event_data": pick("eventData", event, EventDataSerializer),
        }
        beside = {name: data[name] for name in ("image", "webhook") if data.get(name)}
        return {**known, **beside}

    def render(self, job: Job) -> HttpResponse:
        result = self.result(job)
        overall = result["aesthetic_score"]
        instead = UNDECIDED if overall is None else overall
        scores = {name: instead if result[ours] is None else result[ours] for name, ours in NAMES.items()}
        return JsonResponse({**scores, "reasoning": " ".join(result["reasoning"])})


class LayoutHealthView(APIView):
    """The process answers."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    schema = None

    def get(self, request: Request) -> Response:
        return Response({"status": "healthy", "model": DEFAULT, "device": "cpu"})


def pick(name: str, value: Any, serializer: Any) -> dict[str, str]:
    """The texts that we read of an object (JSON text in a form); none of null. Raises ValidationError for what is no object."""
    if isinstance(value, str):
        value = read_object(name, value)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationError({name: ["Must be a JSON object."]})
    return {name: value[name] for name in serializer().fields if isinstance(value.get(name), str)}


def read_object(name: str, text: str) -> object:
    try:
        return parse_json_text(text)
    except ParseError as error:
        raise ValidationError({name: [f"Must be JSON: {error.detail}"]}) from None
