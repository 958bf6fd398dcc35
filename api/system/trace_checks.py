"""OTEL_TRACES_EXPORTER: whether what it needs is here, and what of OpenTelemetry's own variables means nothing here."""

import os
from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags

from api import tracing
from api.system.checks import check
from config.failures import INSTALL

PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
HTTP = "http/protobuf"


@check(Tags.compatibility)
def check_traces() -> Iterator[CheckMessage]:
    if settings.OTEL_TRACES_EXPORTER == "none":
        return
    if not tracing.is_installed():
        hint = f"This installs them, as ./start.sh does: {INSTALL} requirements-otel.txt"
        message = "OTEL_TRACES_EXPORTER is otlp, and the packages of OpenTelemetry that it needs are not installed."
        yield Error(message, hint=hint, id="darkroom.E081")
    for name in PROTOCOLS:
        if os.environ.get(name, HTTP) != HTTP:
            hint = f"Set it to {HTTP}, or unset it, and name the collector's port for HTTP (4318 mostly)."
            yield Error(f"{name} is {os.environ[name]!r}: traces are sent by {HTTP} alone.", hint=hint, id="darkroom.E082")
