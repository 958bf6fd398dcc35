from django.apps import AppConfig
from django.conf import settings


class SystemConfig(AppConfig):
    name = "api.system"
    label = "system"
    verbose_name = "System"

    def ready(self) -> None:
        from api import tracing
        from api.jobs import kinds
        from api.system import access_checks, checks, model_checks, trace_checks  # noqa: F401  (their functions register themselves)
        from api.system.handler import LoadModel, UnloadModel

        kinds.register(LoadModel())
        kinds.register(UnloadModel())
        if settings.OTEL_TRACES_EXPORTER == "otlp":
            tracing.turn_on(str(settings.SPECTACULAR_SETTINGS["VERSION"]))
