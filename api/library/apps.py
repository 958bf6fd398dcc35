from django.apps import AppConfig


class LibraryConfig(AppConfig):
    name = "api.library"
    label = "library"
    verbose_name = "Library"

    def ready(self) -> None:
        from api.library.source import LibrarySource
        from config.catalog import register_source

        register_source(LibrarySource())
