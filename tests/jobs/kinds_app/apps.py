from django.apps import AppConfig


class KindsConfig(AppConfig):
    name = "tests.jobs.kinds_app"
    label = "kinds"

    def ready(self) -> None:
        from tests.jobs.kinds_app.kinds import register_all

        register_all()
