"""Grids over HTTP."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.images.grids.estimate import estimate_grid
from api.images.grids.serializers import GridEstimateSerializer, GridSerializer
from api.images.grids.spec import GridSpec
from api.jobs.api.dialect import SubmitView


class GridView(SubmitView):
    """Vary up to three fields of a request: one job for each cell, and one picture with labels of them all.

    Cancelling the grid's job cancels its cells.
    """

    serializer_class = GridSerializer


class GridEstimateView(APIView):
    """What a grid comes to: its jobs, steps and seconds, the size of its picture, and what of it has no effect. Makes no job."""

    @extend_schema(request=GridSerializer, responses=GridEstimateSerializer)
    def post(self, request: Request) -> Response:
        serializer = GridSerializer(data=request.data, context={"request": request, "principal": request.auth})
        serializer.is_valid(raise_exception=True)
        submission = serializer.resolve()
        assert isinstance(submission.spec, GridSpec)
        return Response(estimate_grid(submission.spec, submission.warnings))
