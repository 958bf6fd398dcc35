from django.apps import AppConfig


class StarterConfig(AppConfig):
    """Holds the weights and the commands that train and evaluate them; serves nothing itself."""

    name = "api.starter"
    label = "starter"
    verbose_name = "Starter models"
