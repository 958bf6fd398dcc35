"""Conversations and their messages, with images, token counts and times."""

from django.db import models
from django.db.models.functions import Now

from api.files.models import StoredFile
from api.jobs.identifiers import uuid7
from api.jobs.json_field import KeptJSONField
from api.jobs.models import Job


class Conversation(models.Model):
    """Messages in order. A request whose messages begin with all that a conversation holds continues it; see services.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner_key = models.CharField(max_length=64)
    title = models.CharField(max_length=80, blank=True)
    model_id = models.CharField(max_length=200, blank=True, help_text="The model that was asked last.")
    digest = models.CharField(max_length=64, blank=True, help_text="Of all its messages; '' while an answer is under way.")
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner_key", "-id"], name="conversation_owner"),
            models.Index(fields=["owner_key", "digest"], name="conversation_digest"),
            models.Index(fields=["model_id", "-id"], name="conversation_model"),
            models.Index(fields=["owner_key", "-updated_at", "-id"], name="conversation_recent"),
        ]

    def __str__(self) -> str:
        return self.title or f"conversation {str(self.id)[-12:]}"


class Message(models.Model):
    """One message. Several answers to one question (`n`) share its place and differ in `choice`; the first is what goes on.

    Questions that were asked anew are branches: messages with the same `parent`. At each position one branch is `active`; those are the
    conversation, and what the model and the API's clients get. All messages of one job are on the same branch.
    """

    class Role(models.TextChoices):
        SYSTEM = "system"
        USER = "user"
        ASSISTANT = "assistant"
        TOOL = "tool"

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="messages")
    position = models.PositiveIntegerField()
    choice = models.PositiveSmallIntegerField(default=0)
    parent = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="followers",
        help_text="The message that it follows.",
    )
    active = models.BooleanField(default=True, db_default=True, help_text="Whether it is on the branch that goes on.")
    role = models.CharField(max_length=10, choices=Role)
    parts = KeptJSONField(help_text="Texts, pictures (by id), calls and results of tools, in order.")
    text = models.TextField(blank=True, help_text="All texts of it, for the search.")
    images = models.ManyToManyField(StoredFile, blank=True, related_name="messages")

    # Of an answer
    model_id = models.CharField(max_length=200, blank=True)
    backend = models.CharField(max_length=20, blank=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    first_token_seconds = models.FloatField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["position", "choice"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "position", "choice"], condition=models.Q(active=True), name="message_order"
            )
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"
