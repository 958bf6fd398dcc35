from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "api.jobs"
    label = "jobs"
    verbose_name = "History"

    def ready(self) -> None:
        from api.jobs import dispatch, supervisor

        dispatch.start_embedded_worker = supervisor.ensure_started
