"""The server's addresses, and POST /api/test-jobs/ for the kinds of this app."""

from typing import Any

from django.urls import path
from rest_framework import serializers

from api.jobs.api.dialect import SubmitView
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from config.urls import handler400, handler403, handler404, handler500, urlpatterns
from tests.jobs.kinds_app.kinds import KINDS
from tests.rows import spec_of

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


class TestJobSerializer(JobRequest):
    kind = serializers.ChoiceField(choices=[kind.name for kind in KINDS])
    params = serializers.DictField(default=dict)
    priority = serializers.IntegerField(default=0, min_value=-100, max_value=100)

    def resolve(self) -> Submission:
        data: dict[str, Any] = self.validated_data
        return Submission(spec_of(data["kind"], data["params"]), priority=data["priority"])


class TestJobView(SubmitView):
    serializer_class = TestJobSerializer


urlpatterns = [path("api/test-jobs/", TestJobView.as_view()), *urlpatterns]
