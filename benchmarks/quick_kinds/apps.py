from django.apps import AppConfig


class QuickKindsConfig(AppConfig):
    """Last in INSTALLED_APPS: its kinds are registered after the others, and take their places."""

    name = "benchmarks.quick_kinds"
    label = "quick_kinds"

    def ready(self) -> None:
        from api.jobs import kinds
        from benchmarks.quick_kinds.kinds import QuickChat, QuickDetect, QuickEmbedding, QuickImg2Img, QuickTxt2Img

        for kind in (QuickTxt2Img(), QuickImg2Img(), QuickDetect(), QuickEmbedding(), QuickChat()):
            kinds.register(kind, replaces=True)
