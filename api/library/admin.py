"""The library for people: what is there, what it looks like, and why something can't be used. Nothing is edited by hand."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.tools import bytes_text, date_text, pill
from api.library.models import LibraryFile
from api.library.views import preview_response


class UsableFilter(admin.SimpleListFilter):
    title = "usability"
    parameter_name = "usable"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [
            ("yes", "Can be used"),
            ("no", "Can't be used"),
            *((kind, f"– {label}") for kind, label in REASONS.items()),
            ("missing", "– not there any more"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LibraryFile]) -> QuerySet[LibraryFile]:
        match self.value():
            case "yes":
                return queryset.filter(reason="", missing_since__isnull=True)
            case "no":
                return queryset.exclude(reason="", missing_since__isnull=True)
            case "missing":
                return queryset.filter(missing_since__isnull=False)
        return queryset.filter(reason_kind=self.value()) if self.value() in REASONS else queryset


REASONS = {"pickle": "pickles", "unreadable": "unreadable", "unsupported": "unsupported"}


class FamilyFilter(admin.SimpleListFilter):
    title = "family"
    parameter_name = "family"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        families = LibraryFile.objects.exclude(family="").order_by("family").values_list("family", flat=True).distinct()
        return [(family, family) for family in families[:50]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LibraryFile]) -> QuerySet[LibraryFile]:
        return queryset.filter(family=self.value()) if self.value() else queryset


@admin.register(LibraryFile)
class LibraryFileAdmin(ReadOnlyAdmin):
    list_display = ["picture", "title", "what", "shown_size", "state", "licence"]
    list_display_links = ["title"]
    list_filter = [UsableFilter, "kind", FamilyFilter]
    search_fields = ["name", "file_name", "entry_id", "^sha256", "^content_sha256", "=short_hash"]
    search_help_text = "A part of a name, of a file's name or of an id; or the beginning of a hash."
    readonly_fields = ("whole_picture", "state", "shown_size", "hashes", "words", "found", "gone", "parts", "settings")
    fieldsets = (
        (None, {"fields": ("whole_picture", "name", "entry_id", "state", "kind", "family", "variant", "licence", "words")}),
        ("File", {"fields": ("path", "root", "shown_size", "hashes", "found", "gone")}),
        (
            "Weights",
            {"fields": ("precision", "parameters", "prediction", "zero_terminal_snr", "few_step", "parts", "vae", "settings")},
        ),
    )

    # ------------------------------------------------------------ the list

    @admin.display(description="")
    def picture(self, file: LibraryFile) -> SafeString:
        if not file.preview:
            return SafeString('<span class="list-picture"></span>')
        return format_html(
            '<img class="list-picture" src="{}" alt="" width="48" height="48" loading="lazy">', self.address(file)
        )

    @admin.display(description="name", ordering="name")
    def title(self, file: LibraryFile) -> SafeString:
        return format_html(
            '<span class="list-prompt" title="{}">{}</span><code>{}</code>',
            file.path,
            Truncator(file.name).chars(80),
            Truncator(file.entry_id).chars(60),
        )

    @admin.display(description="kind, family")
    def what(self, file: LibraryFile) -> SafeString:
        details = ", ".join(filter(None, [file.family, file.variant, file.precision, file.few_step]))
        return format_html('{}<br><span class="quiet">{}</span>', file.get_kind_display(), details)

    @admin.display(description="size")
    def shown_size(self, file: LibraryFile) -> str:
        return bytes_text(file.size)

    @admin.display(description="usable")
    def state(self, file: LibraryFile) -> SafeString:
        if file.is_usable:
            return pill("yes")
        return format_html('{} <span class="list-prompt">{}</span>', pill("no"), file.why_not)

    # ------------------------------------------------------------ one file

    @admin.display(description="preview")
    def whole_picture(self, file: LibraryFile) -> SafeString | str:
        if not file.preview:
            return "none"
        return format_html('<img src="{}" alt="" class="whole-picture">', self.address(file))

    @admin.display(description="hashes")
    def hashes(self, file: LibraryFile) -> SafeString | str:
        if not file.sha256:
            return "not computed yet"
        return format_html(
            "<code>{}</code><br>AutoV2 <code>{}</code>, AutoV3 <code>{}</code>, A1111 <code>{}</code>",
            file.sha256,
            file.autov2,
            file.autov3 or "–",
            file.short_hash,
        )

    @admin.display(description="trigger words")
    def words(self, file: LibraryFile) -> str:
        return ", ".join(file.trigger_words) or "none"

    @admin.display(description="parts that it lacks")
    def parts(self, file: LibraryFile) -> str:
        return ", ".join(file.lacks) or "none"

    @admin.display(description="own settings")
    def settings(self, file: LibraryFile) -> SafeString | str:
        if not file.own_settings:
            return f"none; {file.name_of_settings} would hold them"
        return format_html_join(", ", "<code>{} = {}</code>", file.stated_settings())

    @admin.display(description="found")
    def found(self, file: LibraryFile) -> str:
        return date_text(file.found_at)

    @admin.display(description="gone since")
    def gone(self, file: LibraryFile) -> str:
        return date_text(file.missing_since) if file.missing_since else "–"

    # ------------------------------------------------------------ pictures

    def address(self, file: LibraryFile) -> str:
        return reverse("admin:library_libraryfile_preview", args=[file.pk])

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview, cacheable=True)
        return [path("<int:pk>/preview/", view, name="library_libraryfile_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest, pk: int) -> HttpResponse:
        file = self.get_object(request, str(pk))
        if file is None or not self.has_view_permission(request, file):
            raise Http404
        return preview_response(request, file)
