from django.apps import AppConfig


class FilesConfig(AppConfig):
    name = "api.files"
    label = "files"
    verbose_name = "Files"

    def ready(self) -> None:
        from api.files import signals  # noqa: F401  (connects them)
