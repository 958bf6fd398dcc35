"""System checks of who reaches the server, and under which addresses: see checks.py."""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.http.request import validate_host

from api.system.checks import check

LEAST_KEY = 32
MAKE_KEY = "Set it to 50 random characters: python -c 'import secrets; print(secrets.token_urlsafe(50))'."
HOST_PATTERN = re.compile(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")


@check(Tags.security)
def check_access() -> Iterator[CheckMessage]:
    if not is_loopback(settings.HOST) and set(settings.ALLOWED_HOSTS) <= set(settings.LOOPBACK_NAMES):
        message = (
            f"HOST is {settings.HOST}, and ALLOWED_HOSTS names only this machine: requests from elsewhere are refused (400)."
        )
        hint = "Set ALLOWED_HOSTS to the names and addresses that clients use, separated by commas."
        yield Warning(message, hint=hint, id="darkroom.W001")
    for host in settings.ALLOWED_HOSTS:
        if not HOST_PATTERN.fullmatch(host):
            hint = "Write names and addresses alone, without scheme, port and path, separated by commas: pictures.example.com,10.0.0.7."
            yield Error(f"ALLOWED_HOSTS has {host!r}, which no request's host can be.", hint=hint, id="darkroom.E090")
    if settings.DEBUG and not is_loopback(settings.HOST):
        message = f"DEBUG is on while HOST is {settings.HOST}: error pages would show settings and code to everybody."
        yield Warning(message, hint="Unset DEBUG, or keep HOST at 127.0.0.1.", id="darkroom.W002")
    for origin in settings.CORS_ORIGINS:
        if not is_origin(origin):
            hint = "An origin is a scheme, a host and at most a port: https://app.example.com; no path, no '*'."
            yield Error(f"CORS_ORIGINS has {origin!r}, which is no origin.", hint=hint, id="darkroom.E013")
    if settings.PUBLIC_URL:
        yield from public_url_messages(settings.PUBLIC_URL)
    prefix = settings.MEDIA_ACCEL_PREFIX
    if prefix and not prefix.startswith("/"):
        hint = "Set it to the proxy's internal location, for example /protected/."
        yield Error(f"MEDIA_ACCEL_PREFIX must begin with '/', not {prefix!r}.", hint=hint, id="darkroom.E014")


@check(Tags.security)
def check_secret_key() -> Iterator[CheckMessage]:
    length = len(settings.SECRET_KEY)
    if length < LEAST_KEY:
        message = (
            f"SECRET_KEY has {length} characters: who guesses it can make sessions of any account, and read webhooks' secrets."
        )
        yield Warning(message, hint=f"{MAKE_KEY} Or unset it: the first run makes one.", id="darkroom.W090")
    elsewhere = settings.JOB_RUNNER == "celery" and settings.DATABASES["default"]["ENGINE"] == "config.postgres"
    if elsewhere and not settings.SECRET_KEY_GIVEN:
        message = (
            "There is no SECRET_KEY: each data folder has made its own, and other machines can't read what this one signs."
        )
        hint = f"Set it to that of {settings.DATA_DIR / 'secret_key'} for all of them, if there is more than one data folder."
        yield Warning(message, hint=hint, id="darkroom.W091")


def public_url_messages(url: str) -> Iterator[CheckMessage]:
    if not is_origin(url):
        hint = "It is a scheme, a host and at most a port: https://pictures.example.com."
        yield Error(f"PUBLIC_URL is {url!r}, which is no address that links can begin with.", hint=hint, id="darkroom.E068")
        return
    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        hint = "Set it to the address by which the receivers of webhooks reach this server, or unset it."
        yield Warning(
            f"PUBLIC_URL is {url}: links in webhooks lead to the receivers' own machines.", hint=hint, id="darkroom.W068"
        )
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        message = f"PUBLIC_URL is {url}, and ALLOWED_HOSTS has no {host}: whoever follows a webhook's link is refused (400)."
        yield Warning(message, hint=f"Add {host} to ALLOWED_HOSTS.", id="darkroom.W069")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_origin(value: str, *, path: bool = False) -> bool:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  (raises for a port that is none)
    except ValueError:
        return False
    rest = parts.query or parts.fragment or parts.username or (parts.path and not path)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "*" not in value and not rest
