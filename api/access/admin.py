"""Keys in the admin: made and revoked there. The token is shown once, right after it was made."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html

from api.access.models import ApiKey, default_scopes
from api.access.scopes import SCOPES
from api.access.services import any_key_exists, create_key, revoke_key
from api.quotas import NAMES, NO_LIMIT, Quotas, read_limit


def quota_title(name: str) -> str:
    return name.replace("_", " ").capitalize()


class QuotaForm(forms.ModelForm):
    """A field for each limit, whose values `quotas` keeps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in NAMES:
            self.initial[name] = written_limit(self.instance.quotas, name)

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        self.instance.quotas = {name: limit for name in NAMES if (limit := self.limit_of(name)) != ""}
        return data

    def limit_of(self, name: str) -> int | str | None:
        """Empty where the field is, or is in error."""
        text = self.cleaned_data.get(name, "")
        try:
            return read_limit(name, text) if text else ""
        except ValueError as error:
            self.add_error(name, str(error))
            return ""


def written_limit(quotas: Quotas, name: str) -> str:
    limit = quotas.get(name, "")
    return NO_LIMIT if limit is None else str(limit)


def limit_field(name: str) -> forms.CharField:
    return forms.CharField(label=quota_title(name), required=False, max_length=30)


KeyForm = type("KeyForm", (QuotaForm,), {name: limit_field(name) for name in NAMES})


class ApiKeyForm(KeyForm):  # type: ignore[valid-type,misc]
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=default_scopes,
        help_text="read: see one's own jobs and files. submit: make jobs. staff: everything, everybody's. "
        "priority: jobs of a priority above 0 go before those of all other keys.",
    )

    class Meta:
        model = ApiKey
        fields = ["name", "scopes", "expires_at", "max_active_jobs", "weight"]


QUOTA_HELP = (
    f"Numbers such as 500, 20M or 1.5G; {NO_LIMIT}: no limit, also where the setting KEY_QUOTAS has one; empty: what that says. "
    "Days and months begin in UTC. A failed or cancelled job gives back what it reserved."
)


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("active", "active"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = queryset.filter(revoked_at__isnull=True, expires_at__lte=timezone.now())
        match self.value():
            case "active":
                return queryset.filter(revoked_at__isnull=True).exclude(expires_at__lte=timezone.now())
            case "expired":
                return expired
            case "revoked":
                return queryset.filter(revoked_at__isnull=False)
        return queryset


KNOWN_LATER = ["prefix", "state", "created_at", "last_used_at", "revoked_at"]
LOCKED = (
    "This was the first key: from now on the page at / asks for a log-in, and the API asks for a key "
    "(Authorization: Bearer …) from every client, on this machine too."
)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    form = ApiKeyForm
    list_display = ["prefix", "name", "scope_list", "state", "last_used_at", "expires_at", "created_at"]
    list_filter = [StateFilter]
    search_fields = ["prefix", "name"]
    change_form_template = "admin/access/apikey/change_form.html"
    readonly_fields = KNOWN_LATER
    actions = ["revoke"]

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        later = () if obj is None else KNOWN_LATER
        return [
            (None, {"fields": [*ApiKeyForm.Meta.fields, *later]}),
            ("What it may use", {"fields": list(NAMES), "description": QUOTA_HELP}),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        is_first = not any_key_exists()
        return super().add_view(request, form_url, {"is_first_key": is_first, **(extra_context or {})})

    @admin.display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "active" if key.is_active else "expired"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: object, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        is_first = not any_key_exists()
        created, token = create_key(
            name=obj.name,
            scopes=obj.scopes,
            expires_at=obj.expires_at,
            max_active_jobs=obj.max_active_jobs,
            weight=obj.weight,
            quotas=obj.quotas,
        )
        # The admin goes on with its own object: let it be the row that was made.
        obj.__dict__.update({field.attname: getattr(created, field.attname) for field in ApiKey._meta.concrete_fields})
        obj._state.adding = False
        messages.success(request, format_html("Keep this token now, it can't be shown again: <code>{}</code>", token))
        if is_first:
            messages.warning(request, LOCKED)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        revoked = sum(revoke_key(key) for key in queryset)
        messages.success(request, f"{revoked} revoked. A revoked key is refused from its next request on.")
        return None

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A key marks what its owner made, so it is revoked and kept."""
        return False
