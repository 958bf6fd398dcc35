"""Prompts and files that are read, over HTTP. Neither makes a job."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.scopes import READ
from api.images.png_info.reading import read_png_info
from api.images.prompt_serializers import (
    PngInfoAnswerSerializer,
    PngInfoSerializer,
    PromptAnswerSerializer,
    PromptSerializer,
)


class PromptView(APIView):
    """How a prompt is read: its pieces with their weights, its tokens, the adapters and embeddings that it names. Makes no job."""

    required_scope = READ

    @extend_schema(request=PromptSerializer, responses=PromptAnswerSerializer)
    def post(self, request: Request) -> Response:
        serializer = PromptSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.preview())


class PngInfoView(APIView):
    """The parameters that a picture's file carries, and the request for such a picture on this server. Makes no job.

    Files of this server, AUTOMATIC1111, Forge, ComfyUI, InvokeAI, NovelAI and Fooocus are read. What `request` leaves out is named in
    `missing` and `warnings`.
    """

    required_scope = READ

    @extend_schema(request=PngInfoSerializer, responses=PngInfoAnswerSerializer)
    def post(self, request: Request) -> Response:
        serializer = PngInfoSerializer(data=request.data, context={"principal": request.auth})
        serializer.is_valid(raise_exception=True)
        sent = serializer.validated_data["image"]
        return Response(read_png_info(sent.data, sent.parameters))
