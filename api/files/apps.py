from django.apps import AppConfig


class FilesConfig(AppConfig):
    name = "api.files"
    label = "files"
    verbose_name = "Files"

    def ready(self) -> None:
        from api.files import signals, storage  # noqa: F401  (connects them)
        from api.files.kept_bytes import stored_bytes, stored_bytes_within
        from api.files.references import register_reference
        from api.jobs.disk import watch_free_space
        from api.jobs.store.usage import register_stored_bytes

        register_reference("job_inputs")
        register_stored_bytes(stored_bytes, stored_bytes_within)
        watch_free_space(storage.free_media_bytes)
