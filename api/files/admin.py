"""Stored files in the admin: to look at and to delete; nothing about them can be changed."""

import uuid

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from api.files.models import StoredFile
from api.files.responses import file_response


@admin.register(StoredFile)
class StoredFileAdmin(admin.ModelAdmin):
    list_display = ["thumbnail", "purpose", "content_type", "width", "height", "size", "owner_key", "created_at"]
    list_display_links = ["thumbnail"]
    list_filter = ["purpose", "content_type"]
    search_fields = ["=id", "=owner_key", "=sha256"]
    readonly_fields = ("picture", *(field.name for field in StoredFile._meta.fields))
    fields = (*readonly_fields,)
    show_full_result_count = False
    list_per_page = 50

    @admin.display
    def thumbnail(self, file: StoredFile) -> str:
        return format_html('<img src="{}" alt="" height="96" loading="lazy">', self.address_of(file, "thumbnail"))

    @admin.display
    def picture(self, file: StoredFile) -> str:
        return format_html('<img src="{}" alt="" class="whole-picture">', self.address_of(file, "content"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: StoredFile | None = None) -> bool:
        return False

    def address_of(self, file: StoredFile, which: str) -> str:
        return reverse(f"admin:files_storedfile_{which}", args=[file.pk])

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.serve, cacheable=True)
        own = [
            path("<uuid:pk>/content/", view, {"thumbnail": False}, name="files_storedfile_content"),
            path("<uuid:pk>/thumbnail/", view, {"thumbnail": True}, name="files_storedfile_thumbnail"),
        ]
        return own + super().get_urls()

    def serve(self, request: HttpRequest, pk: uuid.UUID, thumbnail: bool) -> HttpResponseBase:
        file = self.get_object(request, str(pk))
        if file is None or not self.has_view_permission(request, file):
            raise Http404
        return file_response(request, file, thumbnail)
