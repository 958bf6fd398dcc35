"""API keys. Only a hash of the secret is kept: a stolen database opens nothing."""

import uuid
from typing import Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from api.access.scopes import MAX_WEIGHT, PRIORITY, READ, SCOPES, SUBMIT, OwnerLimits, Principal
from api.quotas import FORM, Quota, are_quotas, quotas_in_force


def default_scopes() -> list[str]:
    return [READ, SUBMIT]


def validate_scopes(value: object) -> None:
    if not isinstance(value, list) or not value or not set(value) <= set(SCOPES):
        raise ValidationError(f"Scopes are a list of one or more of {', '.join(SCOPES)}.")


def validate_quotas(value: object) -> None:
    if not are_quotas(value):
        raise ValidationError(f"Each is {FORM}.")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def unrevoked(self) -> Self:
        return self.filter(revoked_at__isnull=True)


class ApiKey(models.Model):
    """A client's right to use the API: active until it expires or is revoked, and never deleted.

    `prefix` is the part of the token that is no secret. It marks what the key's owner makes (`owner_key`), so it is
    never given twice.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    name = models.CharField(max_length=100, help_text="Who or what uses the key.")
    scopes = models.JSONField(default=default_scopes, validators=[validate_scopes])
    max_active_jobs = models.PositiveIntegerField(
        null=True, blank=True, help_text="Queued and running jobs at once; empty for the server's general limit."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)],
        help_text="Its share of the workers where several keys have jobs waiting: 2 gets twice as much as 1.",
    )
    quotas = models.JSONField(
        default=dict, db_default={}, blank=True, validators=[validate_quotas], help_text="What it may use in a day or a month."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]
        # "Is there a key at all?" is asked with every request.
        indexes = [models.Index(fields=["prefix"], name="key_unrevoked", condition=Q(revoked_at__isnull=True))]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def limits(self) -> OwnerLimits:
        return OwnerLimits(self.max_active_jobs, self.weight, PRIORITY in self.scopes, self.quotas_in_force)

    @property
    def quotas_in_force(self) -> tuple[Quota, ...]:
        """Its own, and the general ones."""
        return quotas_in_force(self.quotas, settings.KEY_QUOTAS)

    def as_principal(self) -> Principal:
        return Principal(self.prefix, frozenset(self.scopes), key_id=self.id, limits=self.limits, name=self.name)


class WrongPasswords(models.Model):
    """How many there were for one account lately, from one address or from all of them."""

    name = models.CharField(max_length=40, primary_key=True, help_text="A digest.")
    count = models.PositiveIntegerField(default=0)
    since = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.count}"
