from django.apps import AppConfig


class VisionConfig(AppConfig):
    name = "api.vision"
    label = "vision"
    verbose_name = "Vision"

    def ready(self) -> None:
        from api.jobs import kinds
        from api.vision.handler import Detect
        from api.vision.ocr_handler import Ocr

        kinds.register(Detect())
        kinds.register(Ocr())
