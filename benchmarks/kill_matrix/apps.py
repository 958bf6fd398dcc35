from django.apps import AppConfig


class KillMatrixConfig(AppConfig):
    """Last in INSTALLED_APPS: its kinds take the places of those that need a model, but for txt2img where models are loaded."""

    name = "benchmarks.kill_matrix"
    label = "kill_matrix"

    def ready(self) -> None:
        from django.conf import settings

        from api.jobs import kinds
        from benchmarks.quick_kinds.kinds import QuickChat, QuickDetect, QuickImg2Img, QuickTxt2Img

        quick: list[kinds.AnyKind] = [QuickImg2Img(), QuickDetect(), QuickChat()]
        for kind in quick if settings.LOAD_MODELS else [*quick, QuickTxt2Img()]:
            kinds.register(kind, replaces=True)
