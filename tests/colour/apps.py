from django.apps import AppConfig


class ColourConfig(AppConfig):
    name = "tests.colour"

    def ready(self) -> None:
        from api.jobs import kinds
        from tests.colour.handler import Colour

        kinds.register(Colour())
