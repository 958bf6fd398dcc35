from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "api.jobs"
    label = "jobs"
    verbose_name = "History"

    def ready(self) -> None:
        from api.jobs.notify import broker
        from api.jobs.notify.wakeups import work_waiting
        from api.jobs.worker import supervisor

        work_waiting.connect(supervisor.start_if_embedded, dispatch_uid="supervisor")
        work_waiting.connect(broker.publish_if_celery, dispatch_uid="broker")
