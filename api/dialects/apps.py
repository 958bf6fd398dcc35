from django.apps import AppConfig


class DialectsConfig(AppConfig):
    name = "api.dialects"
    label = "dialects"
    verbose_name = "Other servers' APIs"
