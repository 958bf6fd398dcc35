from django.apps import AppConfig


class SafetyConfig(AppConfig):
    name = "api.safety"
    label = "safety"
    verbose_name = "Safety"

    def ready(self) -> None:
        from api.safety import checks  # noqa: F401  (its functions register themselves)
