"""What came of one try to deliver a webhook, and whether and when it is tried again."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import timezone

from api.jobs.api.serializers import to_time
from api.webhooks.models import Delivery

GONE = 410
"""Given up at once, and its URL is used no more."""
Status = Delivery.Status


@dataclass(frozen=True)
class Outcome:
    """Of one try: the answer's status and the beginning of its body, or why there was none."""

    status: int | None
    text: str
    seconds: float

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def kind(self) -> str:
        return "delivered" if self.is_taken else "unreachable" if self.status is None else "refused"

    def to_json(self) -> dict[str, Any]:
        """`at`: when it came."""
        return {"at": to_time(timezone.now()), "status": self.status, "text": self.text, "seconds": round(self.seconds, 3)}


def next_state(attempts: int, outcome: Outcome) -> tuple[Status, float | None]:
    """And the seconds until the next try, where there is one."""
    if outcome.is_taken:
        return Status.DELIVERED, None
    if outcome.status == GONE:
        return Status.STOPPED, None
    if attempts > len(settings.WEBHOOK_RETRY_SECONDS):
        return Status.FAILED, None
    return Status.PENDING, settings.WEBHOOK_RETRY_SECONDS[attempts - 1]
