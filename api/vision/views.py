"""Vision over HTTP."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.jobs.api.dialect import SubmitView
from api.vision.ocr.models import describe_languages
from api.vision.serializers import DetectSerializer, OcrLanguageSerializer, OcrSerializer


class DetectView(SubmitView):
    """Find things in a picture.

    The job's result has the picture's `width` and `height` and `detections`, the best score first: `label`, `class_id`, `score` and
    `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels of the picture as a person sees it). With `annotate` it has `annotated` too, the
    picture with the boxes drawn over it.
    """

    serializer_class = DetectSerializer


class OcrView(SubmitView):
    """Read the text in a picture.

    The job's result has the picture's `width` and `height`, `text` (the lines, one below the other) and `lines` in reading order: `text`
    (NFC), `score`, `polygon` (the four corners, clockwise from where the line begins), `box` (around the polygon; both in pixels of the
    picture as a person sees it) and `engine`, which read it. A picture without text has no lines. With `annotate` the result has
    `annotated` too, the picture with the lines drawn over it. A language that can't be read here is a 400 with the line that installs it.
    """

    serializer_class = OcrSerializer


class OcrLanguagesView(APIView):
    """The languages that `POST /api/ocr/` knows, and which of them can be read on this server: by the letters that its engines have."""

    @extend_schema(operation_id="ocr_languages_list", responses=OcrLanguageSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(OcrLanguageSerializer(list(describe_languages(settings.DEFAULT_OCR_MODEL)), many=True).data)
