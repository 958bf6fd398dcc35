"""How long the record of matched prompts is kept."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from api.jobs.store.deletion_slices import Slices, never
from api.safety.models import PromptMatch


def delete_old_matches(should_stop: Callable[[], bool] = never) -> None:
    """As long as jobs are (JOB_RETENTION_DAYS; 0: for ever)."""
    if settings.JOB_RETENTION_DAYS:
        old = PromptMatch.objects.filter(created_at__lt=Now() - timedelta(days=settings.JOB_RETENTION_DAYS)).order_by(
            "created_at"
        )
        Slices(should_stop).run(
            lambda size: list(old.values_list("pk", flat=True)[:size]),
            lambda ids: PromptMatch.objects.filter(pk__in=ids).delete,
        )
