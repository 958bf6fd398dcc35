from django.apps import AppConfig


class StudioConfig(AppConfig):
    name = "api.studio"
    label = "studio"
    verbose_name = "Studio"
