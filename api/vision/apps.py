from django.apps import AppConfig


class VisionConfig(AppConfig):
    name = "api.vision"
    label = "vision"
    verbose_name = "Vision"

    def ready(self) -> None:
        from api.jobs import kinds
        from api.runtime import judge_registry, server_tools, subject_cutting
        from api.vision.chat_tools import FIND_OBJECTS, READ_TEXT
        from api.vision.cutout.cutter import Cutter
        from api.vision.cutout.handler import Cutout
        from api.vision.handler import Detect
        from api.vision.hazard_handler import Hazards
        from api.vision.object_judge import ObjectKind
        from api.vision.ocr_handler import Ocr

        for kind in (Cutout(), Detect(), Hazards(), Ocr()):
            kinds.register(kind)
        judge_registry.register("objects", ObjectKind())
        subject_cutting.register(Cutter())
        server_tools.register(FIND_OBJECTS)
        server_tools.register(READ_TEXT)
