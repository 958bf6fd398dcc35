from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "api.jobs"
    label = "jobs"
    verbose_name = "History"

    def ready(self) -> None:
        from api.jobs.notify import wakeups
        from api.jobs.worker import supervisor

        wakeups.start_embedded_worker = supervisor.ensure_started
