"""What the older servers' APIs share: they answer what a job became in their own words, with no job and no 202 in them."""

from collections.abc import Mapping
from functools import update_wrapper
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.datastructures import MultiValueDict
from rest_framework.request import Request

from api.form_data import read_form
from api.jobs.api.submission import Submission, SubmitView, read_preference
from api.strict import parse_json_text

KEPT_HEADERS = ("Retry-After", "WWW-Authenticate", "Location")
PREFIXES = ("/generate", "/score", "/health")


def detail_alone(status: int, code: str, detail: str) -> dict[str, Any]:
    """Their errors."""
    return {"detail": detail}


class OlderView(SubmitView):
    """A view of `/api/`'s whose requests and answers are translated. `thing`: what isn't ready yet, in a sentence."""

    schema = None
    thing: str
    prefer: str = ""
    """How long a client waits that doesn't say so itself (RFC 7240)."""

    @classmethod
    def translate_request(cls, data: Any) -> Any:
        """Into the body that `serializer_class` reads. A body that is no object stays what it is, to be refused."""
        raise NotImplementedError

    @classmethod
    def translate_result(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        """Of the job that succeeded."""
        raise NotImplementedError

    @classmethod
    def translate_error(cls, data: Mapping[str, Any]) -> str:
        """Of a problem, or of a job that failed, in one text; '' where it says nothing."""
        return (data.get("error") or data).get("detail") or ""

    def get_submission(self, request: Request, **kwargs: Any) -> Submission:
        context = {"request": request, "principal": request.auth}
        data = request.data
        if isinstance(data, MultiValueDict):
            data = read_form(data, {}, parse_json_text)  # one value a field; what is JSON in it, the translation knows
        serializer: Any = self.serializer_class(data=self.translate_request(data), context=context)
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()  # type: ignore[no-any-return]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)

        async def answer(request: HttpRequest) -> HttpResponseBase:
            preference = read_preference(request.META.get("HTTP_PREFER", "")).applied
            if cls.prefer and not preference:
                request.META["HTTP_PREFER"] = cls.prefer
            response = cls.translate_response(await view(request), knows_202=bool(preference))
            if preference:
                response["Preference-Applied"] = preference
            return response

        wrapped = update_wrapper(answer, view)
        wrapped.csrf_exempt = True  # type: ignore[attr-defined]
        return wrapped

    @classmethod
    def translate_response(cls, response: Any, *, knows_202: bool) -> HttpResponseBase:
        """A job that succeeded becomes 200 with its result; what went wrong a `detail`.

        One that is not ready is 202 to a client that said how long it waits (RFC 7240), and 504 to one that knows only these servers.
        """
        data = getattr(response, "data", None)
        if not isinstance(data, Mapping):
            return response  # type: ignore[no-any-return]
        if response.status_code == 201:
            translated = JsonResponse(cls.translate_result(data["result"]))
        elif response.status_code == 202:
            told = {"detail": f"The {cls.thing} is not ready yet.", "job": data["id"]}
            translated = JsonResponse(told, status=202 if knows_202 else 504)
        else:
            detail = cls.translate_error(data) or f"The {cls.thing} could not be made."
            translated = JsonResponse({"detail": detail}, status=response.status_code)
        for name in KEPT_HEADERS:
            if name in response:
                translated[name] = response[name]
        return translated
