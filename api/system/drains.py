"""Draining workers and machines over the API, for staff keys."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.scopes import STAFF
from api.errors import DarkroomError
from api.jobs.draining import drain, find_worker, undo_drain, undrained
from api.jobs.models import Drain
from api.strict import StrictSerializer


class NewDrainSerializer(StrictSerializer):
    worker = serializers.UUIDField(required=False, allow_null=True, help_text="A worker's id, as /api/status/ lists it.")
    hostname = serializers.CharField(
        max_length=255,
        required=False,
        allow_null=True,
        help_text="A machine: all its workers, those that start there later too.",
    )
    exit = serializers.BooleanField(default=False, help_text="Whether workers end once they run nothing.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs.get("worker")) == bool(attrs.get("hostname")):
            raise serializers.ValidationError({"worker": "Name either a worker or a hostname."})
        return attrs

    def validate_worker(self, value: Any) -> Any:
        try:
            return value and find_worker(str(value)).pk
        except DarkroomError as error:
            raise serializers.ValidationError(error.detail) from None


class DrainSerializer(serializers.Serializer[Drain]):
    id = serializers.IntegerField()
    worker = serializers.UUIDField(source="worker_id", allow_null=True)
    hostname = serializers.CharField(allow_blank=True)
    exit = serializers.BooleanField(source="exits")
    undrained = serializers.SerializerMethodField(help_text="Workers that still run something, or have not heard of it yet.")
    created_at = serializers.DateTimeField()

    def get_undrained(self, drain: Drain) -> int:
        return len(undrained(drain))


class DrainsView(APIView):
    """Workers and machines that claim no more jobs."""

    required_scope = STAFF

    @extend_schema(operation_id="drains_list", responses=DrainSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response([DrainSerializer(one).data for one in Drain.objects.all()])

    @extend_schema(request=NewDrainSerializer, responses={201: DrainSerializer})
    def post(self, request: Request) -> Response:
        """Take a worker, or a machine, out of work: what runs there ends, and nothing more is claimed."""
        body = NewDrainSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        made = drain(worker_id=data.get("worker"), hostname=data.get("hostname") or "", exits=data["exit"] or False)
        made.refresh_from_db()
        return Response(DrainSerializer(made).data, status=201)


class DrainView(APIView):
    required_scope = STAFF

    @extend_schema(responses={204: None})
    def delete(self, request: Request, drain_id: int) -> Response:
        """Back to work."""
        if not undo_drain(Drain.objects.filter(pk=drain_id)):
            raise DarkroomError("not_found", 404, "There is no drain with this id.")
        return Response(status=204)
