from django.apps import AppConfig


class SystemConfig(AppConfig):
    name = "api.system"
    label = "system"
    verbose_name = "System"

    def ready(self) -> None:
        from api.jobs import kinds
        from api.system import checks  # noqa: F401  (its functions register themselves)
        from api.system.handler import LoadModel, UnloadModel

        kinds.register(LoadModel())
        kinds.register(UnloadModel())
