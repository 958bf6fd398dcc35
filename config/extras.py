"""Prints the files of requirements that the settings ask for beside requirements.txt. Run by start.sh, which installs them."""

from django.core.exceptions import ImproperlyConfigured

from config.env import env_path, env_str
from config.env_file import read_env_file
from config.failures import ROOT
from config.media import S3, read_storages

EXTRAS = {S3: "requirements-s3.txt"}
TRACES = "requirements-otel.txt"


def extra_requirements() -> list[str]:
    """None where the settings can't be read: `manage.py prepare` then says why."""
    try:
        read_env_file(env_path("ENV_FILE") or ROOT / ".env")
        traces = [TRACES] if env_str("OTEL_TRACES_EXPORTER").lower() == "otlp" else []
        backends = [str(table["BACKEND"]) for table in read_storages().values()]
    except ImproperlyConfigured:
        return []
    return [*(file for backend, file in EXTRAS.items() if backend in backends), *traces]


if __name__ == "__main__":
    print("\n".join(extra_requirements()))
