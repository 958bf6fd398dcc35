from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "api.webhooks"
    label = "webhooks"
    verbose_name = "Webhooks"

    def ready(self) -> None:
        from api.jobs.webhooks import register_count, register_default
        from api.webhooks.deliveries import count_undelivered, waits
        from api.webhooks.settings_of_keys import defaults

        register_default(defaults.of)
        register_count(count_undelivered, waits)
