from django.apps import AppConfig


class VisionConfig(AppConfig):
    name = "api.vision"
    label = "vision"
    verbose_name = "Vision"

    def ready(self) -> None:
        from api.jobs import kinds
        from api.runtime import judge_registry
        from api.vision.handler import Detect
        from api.vision.hazard_handler import Hazards
        from api.vision.object_judge import ObjectKind

        kinds.register(Detect())
        kinds.register(Hazards())
        judge_registry.register("objects", ObjectKind())
