from django.apps import AppConfig


class DialectsConfig(AppConfig):
    name = "api.dialects"
    label = "dialects"
    verbose_name = "Other servers' APIs"

    def ready(self) -> None:
        from api.dialects.openai.errors import PREFIXES, envelope
        from api.problems import register_form

        for prefix in PREFIXES:
            register_form(prefix, envelope)
