from django.apps import AppConfig


class ImagesConfig(AppConfig):
    name = "api.images"
    label = "images"
    verbose_name = "Pictures"

    def ready(self) -> None:
        from api.files.references import register_reference
        from api.images import signals  # noqa: F401  (its receivers register themselves)
        from api.images.chat_tools import MAKE_PICTURE
        from api.images.control.handler import Preprocess
        from api.images.grids.handler import Grid
        from api.images.handler import Img2Img, Txt2Img
        from api.images.scheduler_presets import why_no_scheduler
        from api.images.services import record_derived
        from api.images.upscaling.handler import Upscale
        from api.jobs import kinds
        from api.runtime import picture_rows, server_tools
        from config.catalog import register_scheduler_check

        register_reference("generated__derived_links")
        kinds.register(Txt2Img())
        kinds.register(Img2Img())
        kinds.register(Upscale())
        kinds.register(Grid())
        kinds.register(Preprocess())
        picture_rows.register(record_derived)
        register_scheduler_check(why_no_scheduler)
        server_tools.register(MAKE_PICTURE)
