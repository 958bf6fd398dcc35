"""Presets for people: a list, a form whose changes are new versions, and the versions there were."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from rest_framework.exceptions import ValidationError

from api.access.principals import principal_of
from api.images.models import Preset, PresetVersion
from api.images.presets.serializers import check_request
from api.images.presets.services import change_preset, create_preset
from api.jobs.admin.detail import pretty
from api.jobs.admin.tools import CappedPaginator, date_text
from api.problems import field_errors

MOST_VERSIONS = 50
EXAMPLE = {"prompt": "a photograph of {prompt} on a white table, soft light", "steps": 20}


class PresetForm(forms.ModelForm):
    request = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 14, "cols": 80, "spellcheck": "false", "class": "vLargeTextField preset-request"}),
        help_text="Fields of POST /api/txt2img/ or /api/img2img/ as a JSON object, all but pictures. {prompt} inside of the prompt is "
        "where the words of a request go.",
    )
    parameters = forms.CharField(
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs={"class": "vLargeTextField"}),
        help_text="Which of these fields a request may change, separated by commas. The others that are set here are fixed.",
    )

    class Meta:
        model = Preset
        fields = ["name", "description", "shared"]
        widgets = {"description": forms.TextInput(attrs={"class": "vLargeTextField"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        current = self.instance.versions.first() if not self.instance._state.adding else None
        self.initial.setdefault("request", pretty(current.request if current else EXAMPLE))
        self.initial.setdefault("parameters", ", ".join(current.parameters) if current else "")
        if current is None:
            self.initial.setdefault("shared", True)

    def clean_parameters(self) -> list[str]:
        names = (name.strip() for name in self.cleaned_data["parameters"].split(","))
        return list(dict.fromkeys(name for name in names if name))

    def clean_request(self) -> dict[str, Any]:
        try:
            request = json.loads(self.cleaned_data["request"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"Must be JSON: {error}") from None
        if not isinstance(request, dict):
            raise forms.ValidationError("Must be a JSON object.")
        return request

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if "request" in data and "parameters" in data:
            try:
                data["request"] = check_request(data["request"], data["parameters"], None)
            except ValidationError as error:
                for wrong in field_errors(error.detail):
                    field, _, inside = wrong["field"].partition(".")
                    self.add_error(field, f"{inside}: {wrong['detail']}" if inside else wrong["detail"])
        self.check_name(data)
        return data

    def check_name(self, data: dict[str, Any]) -> None:
        others = Preset.objects.filter(name=data.get("name") or self.instance.name).exclude(pk=self.instance.pk)
        if data.get("shared") and others.filter(shared=True).exists():
            self.add_error("shared", "There is a shared preset with this name.")


@admin.register(Preset)
class PresetAdmin(admin.ModelAdmin):
    form = PresetForm
    list_display = ["name", "version", "description", "shared", "owner_key", "changed_at"]
    list_filter = ["shared"]
    search_fields = ["name", "description"]
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    fields = ["name", "description", "shared", "request", "parameters"]
    readonly_fields = ["owner_key", "how_to_use", "earlier_versions"]

    def get_fields(self, request: HttpRequest, obj: Preset | None = None) -> Any:
        return self.fields if obj is None else ["how_to_use", *self.fields, "owner_key", "earlier_versions"]

    def get_readonly_fields(self, request: HttpRequest, obj: Preset | None = None) -> Any:
        return self.readonly_fields if obj is None else ["name", *self.readonly_fields]

    @admin.display(description="version", ordering="last_version")
    def version(self, preset: Preset) -> int:
        return preset.last_version

    @admin.display(description="in a request")
    def how_to_use(self, preset: Preset) -> SafeString:
        return format_html("<code>{}</code> or <code>{}</code>", f'"preset": "{preset.name}"', f'"preset": "{preset}"')

    @admin.display(description="versions")
    def earlier_versions(self, preset: Preset) -> SafeString:
        return format_html_join("", '<details class="preset-version"><summary>{}</summary><pre>{}</pre></details>', (
            (f"{version.number} · {date_text(version.created_at)} · {version.created_by}", describe(version))
            for version in preset.versions.all()[:MOST_VERSIONS]
        ))  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Preset, form: Any, change: bool) -> None:
        by, data = principal_of(request).owner_key, form.cleaned_data
        values = {name: data[name] for name in ("request", "parameters", "description", "shared")}
        saved = (
            change_preset(preset=obj, by=by, **values) if change else create_preset(name=data["name"], owner_key=by, **values)
        )
        obj.__dict__.update({field.attname: getattr(saved, field.attname) for field in Preset._meta.concrete_fields})
        obj._state.adding = False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Whose it becomes is a part of what has to be unique."""
        form = super().get_form(request, obj, change, **kwargs)
        owner_key = principal_of(request).owner_key

        class OwnedForm(form):  # type: ignore[misc, valid-type]
            def clean_name(self) -> str:
                name: str = self.cleaned_data["name"]
                if Preset.objects.filter(name=name, owner_key=owner_key).exclude(pk=self.instance.pk).exists():
                    raise forms.ValidationError("You have a preset with this name.")
                return name

        return OwnedForm


def describe(version: PresetVersion) -> str:
    changeable = f"\nmay be changed: {', '.join(version.parameters)}" if version.parameters else ""
    return f"{pretty(version.request)}{changeable}"
