"""Where pictures are kept, as the environment says it: MEDIA_STORAGE, and MEDIA_STORAGE_BEFORE while they move."""

from config.env import env_json_object, env_str

DISK = "api.files.durable.DurableFileSystemStorage"
S3 = "api.files.s3.storage.S3MediaStorage"
NAMES = {"disk": DISK, "s3": S3, "storages.backends.s3.S3Storage": S3}
"""Short names, and django-storages' own class for S3, of which ours is one."""


def read_storage(setting: str, default: str = "") -> dict[str, object] | None:
    """A table of Django's STORAGES; None where the setting has no value and no default."""
    named = env_str(setting, default)
    options = env_json_object(f"{setting}_OPTIONS")
    return {"BACKEND": NAMES.get(named, NAMES.get(named.lower(), named)), "OPTIONS": options} if named else None


def read_storages() -> dict[str, dict[str, object]]:
    places = {"default": read_storage("MEDIA_STORAGE", "disk"), "before": read_storage("MEDIA_STORAGE_BEFORE")}
    return {name: table for name, table in places.items() if table}
