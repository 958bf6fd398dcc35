from django.apps import AppConfig


class StudioConfig(AppConfig):
    name = "api.studio"
    label = "studio"
    verbose_name = "Studio"

    def ready(self) -> None:
        from django.contrib import admin

        # The way around is in the header (templates/admin/base_site.html), which leaves the width to tables and pictures.
        admin.site.enable_nav_sidebar = False
