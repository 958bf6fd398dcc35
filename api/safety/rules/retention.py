"""How long the record of matched prompts is kept."""

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from api.safety.models import PromptMatch


def delete_old_matches() -> None:
    """As long as jobs are (JOB_RETENTION_DAYS; 0: for ever)."""
    if settings.JOB_RETENTION_DAYS:
        PromptMatch.objects.filter(created_at__lt=Now() - timedelta(days=settings.JOB_RETENTION_DAYS)).delete()
