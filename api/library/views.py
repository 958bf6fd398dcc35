"""The picture that lies beside a file of the library."""

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.errors import DarkroomError
from api.library.models import LibraryFile
from api.library.previews import CONTENT_TYPE, NoPreview, make_thumbnail, version_of

HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class PreviewView(APIView):
    """The preview picture of a model, LoRA or embedding of the library, made small."""

    @extend_schema(responses={(200, CONTENT_TYPE): OpenApiTypes.BINARY})
    def get(self, request: Request, model_id: str) -> HttpResponse | Response:
        row = LibraryFile.objects.present().filter(entry_id=model_id).first()
        if row is None:
            raise DarkroomError("not_found", 404, "The library has no file of this id.")
        return preview_response(request._request, row)


def preview_response(request: HttpRequest, row: LibraryFile) -> HttpResponse:
    """304 where the client has it. Raises Http404 where there is none that can be shown."""
    try:
        etag = f'"{version_of(row)}"'
        known = get_conditional_response(request, etag=etag)
        response = known or HttpResponse(make_thumbnail(row), content_type=CONTENT_TYPE)
    except NoPreview:
        raise Http404 from None
    for name, value in {**HEADERS, "ETag": etag}.items():
        response[name] = value
    return response  # type: ignore[no-any-return]
