"""The field `webhook` of every request that makes a job."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.jobs.webhooks import COMPLETED, EVENTS, LONGEST_URL, Webhook, url_error
from api.spec_serializers import SpecSerializer
from api.strict import ChoiceField, StrictSerializer

URL = {"type": "string", "format": "uri", "maxLength": LONGEST_URL}
SCHEMA: dict[str, Any] = {
    "oneOf": [
        URL,
        {
            "type": "object",
            "properties": {
                "url": URL,
                "events": {
                    "type": ["array", "null"],
                    "items": {"type": "string", "enum": list(EVENTS)},
                    "minItems": 1,
                    "default": [COMPLETED],
                },
            },
            "required": ["url"],
            "additionalProperties": False,
        },
        {"type": "null"},
    ],
    "description": "Where this job's events are sent: a URL, which hears of its end, or `{url, events}`. `completed` is sent at least "
    "once, whatever the end is; `started` and `progress` (at most one in 500 ms) where the receiver can be reached. The body is the job. "
    "Signed as in the Standard Webhooks specification.",
}


class WebhookUrlField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        url: str = super().to_internal_value(data)
        if error := url_error(url):
            raise ValidationError(error, code="url_not_allowed")
        return url


class WebhookSerializer(StrictSerializer):
    url = WebhookUrlField()
    events = serializers.ListField(child=ChoiceField(choices=EVENTS), required=False, min_length=1)

    def validate_events(self, value: list[str]) -> list[str]:
        """Each once, in their order."""
        return [event for event in EVENTS if event in value]


@extend_schema_field(SCHEMA)
class WebhookField(serializers.Field[Webhook, object, Any, object]):
    """In a form, an object is JSON text."""

    may_be_object = True

    def to_internal_value(self, data: object) -> Webhook:
        body = {"url": data} if isinstance(data, str) else data
        serializer = WebhookSerializer(data=body)
        if not serializer.is_valid():
            errors = serializer.errors
            raise ValidationError(errors["url"] if isinstance(data, str) else errors)
        known = serializer.validated_data
        return Webhook(known["url"], tuple(known.get("events", (COMPLETED,))))

    def to_representation(self, value: object) -> Any:
        return value


class JobRequest(SpecSerializer):
    """The base of every serializer that makes a job. `webhook` says nothing of the work: it is in no spec, and not in `validated_data`."""

    webhook = WebhookField(required=False)
    read_webhook: Webhook | None = None

    def to_internal_value(self, data: object) -> dict[str, object]:
        value = super().to_internal_value(data)
        self.read_webhook = value.pop("webhook", None)  # type: ignore[assignment]
        return value
