"""What the dialects keep beside the jobs."""

from django.db import models


class A1111Options(models.Model):
    """One owner's options of the AUTOMATIC1111 dialect: those that differ from the defaults (a1111/option_table.py)."""

    owner_key = models.CharField(max_length=64, unique=True)
    values = models.JSONField(default=dict)

    class Meta:
        verbose_name = verbose_name_plural = "AUTOMATIC1111 options"
        ordering = ["owner_key"]

    def __str__(self) -> str:
        return self.owner_key
