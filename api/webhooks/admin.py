"""Webhooks for people: which key's jobs go where, the secrets that sign what is sent, and each delivery with its answers."""

import json
import uuid
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from api.access.models import ApiKey
from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.tools import MadeFilter, date_text, newest, pill, seconds_text
from api.jobs.models import Job
from api.jobs.webhooks import EVENTS
from api.webhooks import deliveries
from api.webhooks.models import Delivery, KeyWebhook, default_events
from api.webhooks.settings_of_keys import WITHOUT_KEY, defaults, make_secret, replace_secret, settings_owner, show_secret
from config.secret import Unreadable

KEEP_IT = "Keep this secret now, it can't be shown again. {}: <code>{}</code>"
UNREADABLE = "The secret of {} can't be read: SECRET_KEY is another one than when it was made. Make a new one."


class KeyWebhookForm(forms.ModelForm):
    events = forms.MultipleChoiceField(
        choices=[(event, event) for event in EVENTS],
        widget=forms.CheckboxSelectMultiple,
        initial=default_events,
        help_text="completed: whatever the end is. started, progress: sent once, if the receiver can be reached.",
    )

    class Meta:
        model = KeyWebhook
        fields = ["owner_key", "url", "events", "enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "owner_key" in self.fields:
            self.fields["owner_key"] = forms.ChoiceField(label="Key", required=False, choices=keys_without_settings())


def keys_without_settings() -> list[tuple[str, str]]:
    taken = set(KeyWebhook.objects.values_list("owner_key", flat=True))
    without_key = [(WITHOUT_KEY, "jobs without a key (this machine, people who are logged in)")]
    keys = [(key.prefix, str(key)) for key in ApiKey.objects.unrevoked()]
    return [(prefix, label) for prefix, label in [*without_key, *keys] if prefix not in taken]


@admin.register(KeyWebhook)
class KeyWebhookAdmin(admin.ModelAdmin):
    form = KeyWebhookForm
    list_display = ["key", "receiver", "event_list", "state", "secret_state"]
    search_fields = ["owner_key", "url"]
    search_help_text = "A part of a key's prefix, or of a URL."
    fields = ["owner_key", "url", "events", "enabled"]
    readonly_fields: ClassVar[list[str]] = ["key", "state", "secret_state"]  # type: ignore[misc]
    actions = ["show", "renew"]

    def get_fields(self, request: HttpRequest, obj: KeyWebhook | None = None) -> Any:
        return self.fields if obj is None else ["key", "url", "events", "enabled", "state", "secret_state"]

    @admin.display(description="key")
    def key(self, row: KeyWebhook) -> str:
        known = ApiKey.objects.filter(prefix=row.owner_key).first() if row.owner_key else None
        return str(known or row)

    @admin.display(description="receiver")
    def receiver(self, row: KeyWebhook) -> SafeString:
        return format_html('<span class="list-prompt">{}</span>', row.url or "what each request names")

    @admin.display(description="events")
    def event_list(self, row: KeyWebhook) -> str:
        return ", ".join(row.events) if row.url else "–"

    @admin.display(description="state")
    def state(self, row: KeyWebhook) -> str:
        if not row.enabled:
            return "switched off"
        return f"answered 410 on {date_text(row.gone_at)}; save it to begin again" if row.gone_at else "on"

    @admin.display(description="secret")
    def secret_state(self, row: KeyWebhook) -> str:
        return f"shown on {date_text(row.shown_at)}" if row.shown_at else "not shown yet (an action of the list shows it once)"

    def save_model(self, request: HttpRequest, obj: KeyWebhook, form: object, change: bool) -> None:
        obj.gone_at = None
        if not change:
            obj.write_secret(make_secret())
        super().save_model(request, obj, form, change)
        defaults.forget()
        if not change:
            self.tell(request, obj, show_secret(obj))
        if not obj.enabled:
            stopped = deliveries.stop(deliveries_of(obj))
            messages.info(request, f"{stopped} waiting {'delivery was' if stopped == 1 else 'deliveries were'} stopped.")

    def tell(self, request: HttpRequest, row: KeyWebhook, secret: str | None) -> None:
        if secret is None:
            messages.warning(request, f"The secret of {row} was shown before. Make a new one; both are valid for a day.")
        else:
            messages.success(request, format_html(KEEP_IT, self.key(row), secret))

    @admin.action(description="Show the secret (once)", permissions=["change"])
    def show(self, request: HttpRequest, queryset: QuerySet[KeyWebhook]) -> None:
        for row in queryset:
            try:
                self.tell(request, row, show_secret(row))
            except Unreadable:
                messages.error(request, UNREADABLE.format(row))

    @admin.action(description="Make a new secret; the old one is valid for a day more", permissions=["change"])
    def renew(self, request: HttpRequest, queryset: QuerySet[KeyWebhook]) -> None:
        for row in queryset:
            self.tell(request, row, replace_secret(row))

    def has_delete_permission(self, request: HttpRequest, obj: KeyWebhook | None = None) -> bool:
        """It has the secret that receivers know: it is switched off, or its secret replaced."""
        return False


def deliveries_of(row: KeyWebhook) -> QuerySet[Delivery]:
    waiting = Delivery.objects.filter(status=Delivery.Status.PENDING)
    owners = waiting.order_by().values_list("owner_key", flat=True).distinct()
    return waiting.filter(owner_key__in=[owner for owner in owners if settings_owner(owner) == row.owner_key])


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["made", "state", "job", "receiver", "tries", "last_answer"]
    list_display_links = ["made"]
    list_filter = ["status", MadeFilter]
    search_fields = ["url"]
    search_help_text = (
        "A job's id, owner:KEY for one owner's, or a part of a URL (in the newest 20,000 that the filters leave)."
    )
    actions = ["send_again", "stop"]
    readonly_fields = fields = ("message", "state", "job", "owner_key", "url", "tries", "next_try", "all_answers", "shown_body")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        job = Job.objects.filter(pk=OuterRef("job_id"))
        return super().get_queryset(request).annotate(job_is_there=Exists(job)).order_by("-id")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        queryset = queryset.defer("body")
        term = search_term.strip()
        try:
            return queryset.filter(job_id=uuid.UUID(term)), False
        except ValueError:
            pass
        if term.startswith("owner:"):
            return queryset.filter(owner_key=term.removeprefix("owner:").strip()), False
        return super().get_search_results(request, newest(queryset) if term else queryset, search_term)

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_delivery")

    # ------------------------------------------------------------ what is shown

    @admin.display(description="made")
    def made(self, delivery: Delivery) -> str:
        return date_text(delivery.created_at)

    @admin.display(description="webhook-id")
    def message(self, delivery: Delivery) -> SafeString:
        return format_html("<code>{}</code>", delivery.pk)

    @admin.display(description="status")
    def state(self, delivery: Delivery) -> SafeString:
        return pill(delivery.status)

    @admin.display(description="job")
    def job(self, delivery: Delivery) -> SafeString:
        short = str(delivery.job_id)[-12:]
        if not delivery.job_is_there:  # type: ignore[attr-defined]
            return format_html("<code>{}</code> (deleted)", short)
        return format_html('<a href="{}"><code>{}</code></a>', reverse("admin:jobs_job_change", args=[delivery.job_id]), short)

    @admin.display(description="receiver")
    def receiver(self, delivery: Delivery) -> SafeString:
        return format_html('<span class="list-prompt">{}</span>', delivery.url)

    @admin.display(description="tries")
    def tries(self, delivery: Delivery) -> int:
        return delivery.attempts

    @admin.display(description="next try")
    def next_try(self, delivery: Delivery) -> str:
        return date_text(delivery.next_attempt_at) if delivery.next_attempt_at else "–"

    @admin.display(description="last answer")
    def last_answer(self, delivery: Delivery) -> SafeString | str:
        if not delivery.answers:
            return "–"
        return answer_text(delivery.answers[-1])

    @admin.display(description="answers")
    def all_answers(self, delivery: Delivery) -> SafeString | str:
        rows = [(date_text(datetime.fromisoformat(answer["at"])), answer_text(answer)) for answer in delivery.answers]
        return format_html_join("", "<p>{} {}</p>", rows) or "none yet"

    @admin.display(description="body")
    def shown_body(self, delivery: Delivery) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(json.loads(delivery.body), indent=2, ensure_ascii=False))

    # ------------------------------------------------------------ actions

    @admin.action(description="Send again now", permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        messages.success(request, f"{deliveries.send_again(queryset)} will be sent now, each with the webhook-id that it had.")

    @admin.action(description="Stop: no further tries", permissions=["act"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        messages.success(request, f"{deliveries.stop(queryset)} stopped.")


def answer_text(answer: dict[str, Any]) -> SafeString:
    status = answer["status"] if answer["status"] is not None else "no answer"
    return format_html(
        '<strong>{}</strong> in {} <span class="list-prompt">{}</span>',
        status,
        seconds_text(answer["seconds"]),
        answer["text"][:200],
    )
