"""Rules for prompts, the record of prompts that they matched, and which keys' pictures are checked."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from api.access.models import ApiKey
from api.jobs.identifiers import uuid7
from api.jobs.models import Job
from api.safety.rules.matching import LONGEST_EXPRESSION, LONGEST_MATCH, InvalidExpression, Syntax, check_expression

LONGEST_PROMPT_KEPT = 4_000


class PromptRule(models.Model):
    """Words or a pattern that prompts may not have, and what is done with a request that has them."""

    class Requests(models.TextChoices):
        PICTURES = "pictures"
        CHATS = "chats"
        ALL = "all"

    class Action(models.TextChoices):
        REFUSE = "refuse"
        FLAG = "flag"

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    syntax = models.CharField(max_length=8, choices=[(one.value, one.value) for one in Syntax], default=Syntax.WORDS.value)
    expression = models.TextField(
        max_length=LONGEST_EXPRESSION,
        help_text="Words and phrases, one on each line: whole words, in capitals or not; with * at the end any word that begins so. "
        "Or one regular expression, which is given a tenth of a second for each prompt.",
    )
    requests = models.CharField(
        max_length=8,
        choices=Requests,
        default=Requests.PICTURES,
        help_text="Whose prompts are read: for pictures, in chats, or both.",
    )
    keys = models.ManyToManyField(
        ApiKey, blank=True, related_name="prompt_rules", help_text="The keys whose requests it is for; none: everybody's."
    )
    action = models.CharField(
        max_length=8,
        choices=Action,
        default=Action.REFUSE,
        help_text="refuse: the request is answered with an error. flag: it is done as any other. Both are recorded.",
    )
    message = models.CharField(
        max_length=300, blank=True, help_text="What a client is told that is refused; empty: a general sentence."
    )
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "rule for prompts"
        verbose_name_plural = "rules for prompts"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        try:
            check_expression(self.syntax, self.expression)
        except InvalidExpression as error:
            raise ValidationError({"expression": str(error)}) from None


class PromptMatch(models.Model):
    """A request whose prompt a rule matched: refused, or flagged and done. Written by submission alone, kept as long as jobs are."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    rule_name = models.CharField("rule", max_length=100, help_text="As it was called then.")
    action = models.CharField(max_length=8, choices=PromptRule.Action)
    matched = models.CharField(max_length=LONGEST_MATCH, help_text="What of the prompt it matched.")
    prompt = models.TextField(help_text=f"Its first {LONGEST_PROMPT_KEPT:,} characters.")
    kind = models.CharField(max_length=40)
    owner_key = models.CharField(max_length=64)
    source = models.CharField(max_length=20, blank=True)
    job = models.ForeignKey(
        Job,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="prompt_matches",
        help_text="Of a request that was flagged.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "prompt that a rule matched"
        verbose_name_plural = "prompts that rules matched"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner_key", "-id"], name="prompt_match_owner"),
            models.Index(fields=["created_at"], name="prompt_match_age"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_name} {str(self.id)[-12:]}"


class KeyChecks(models.Model):
    """Whether the pictures of one key's jobs are checked, where that is not as the server's settings say."""

    key = models.OneToOneField(ApiKey, primary_key=True, on_delete=models.CASCADE, related_name="checks")
    check_pictures = models.BooleanField(help_text="Each picture that is made for this key is checked, or none is.")
    threshold = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="From 0 to 1: the score from which a picture is withheld; empty: the server's own (PICTURE_CHECK_THRESHOLD).",
    )

    class Meta:
        verbose_name = "check of a key's pictures"
        verbose_name_plural = "checks of keys' pictures"
        ordering = ["key"]

    def __str__(self) -> str:
        return f"{self.key}: {'checked' if self.check_pictures else 'not checked'}"
