"""What a job's webhook is: whom its events are sent to, and which. The app api.webhooks sends them."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings

from api.ip_addresses import is_global_address, is_private_address
from api.json_types import JsonObject

STARTED, PROGRESS, COMPLETED = "started", "progress", "completed"
EVENTS = (STARTED, PROGRESS, COMPLETED)
LONGEST_URL = 2000
URL_TEXT = re.compile(r"[\x21-\x7e]+")
LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,254}}$)(?:{LABEL}\.)*(?!\d+\.?$|0x[0-9a-f]*\.?$){LABEL}\.?")
"""The last part is no number: such names are read as IPv4 addresses in forms that hide which (127.1, 0x7f000001)."""
PRIVATE = "This URL leads to a private network, which only the setting WEBHOOK_ALLOW_PRIVATE allows."
NO_HOST = "The URL's host must be a name, or a whole IPv4 or IPv6 address."
NOT_ALLOWED = "This URL leads to an address that webhooks are never sent to."


@dataclass(frozen=True)
class Webhook:
    """`origin`: the address by which the client reached this server, which links in a body begin with; '' where that isn't known."""

    url: str
    events: tuple[str, ...] = (COMPLETED,)
    origin: str = ""

    def to_json(self) -> JsonObject:
        return {**asdict(self), "events": list(self.events)}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Of a row that has one."""
        return cls(value["url"], tuple(value["events"]), value["origin"])


def url_error(url: str) -> str:
    """What is wrong with a receiver's URL, as far as that is known before its name is resolved; '' where nothing is."""
    if len(url) > LONGEST_URL or not URL_TEXT.fullmatch(url):
        return f"Must be a URL of up to {LONGEST_URL} ASCII characters without spaces; others are written as %XX (in names as xn--…)."
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = parts.port
    except ValueError:
        return "This is not a URL."
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return "Must begin with http:// or https://, and carry no user name."
    if port == 0:
        return "Ports are from 1 to 65535."
    return NO_HOST if "[" in parts.netloc and ":" not in host else host_error(host)


def host_error(host: str) -> str:
    """A name is looked up when the event is sent, and its addresses are asked about then."""
    try:
        is_private = "%" not in host and is_private_address(str(ip_address(host)))
    except ValueError:
        if not HOST_NAME.fullmatch(host):
            return NO_HOST
        is_local = f".{host.rstrip('.')}".endswith(".localhost")
        return PRIVATE if is_local and not settings.WEBHOOK_ALLOW_PRIVATE else ""
    if "%" in host or not may_be_sent_to(host):
        return PRIVATE if is_private else NOT_ALLOWED
    return ""


def may_be_sent_to(address: str) -> bool:
    """The rule of every receiver's address."""
    return is_global_address(address) or (settings.WEBHOOK_ALLOW_PRIVATE and is_private_address(address))


# ---------------------------------------------------------------- where a request names none

DefaultWebhook = Callable[[str], Webhook | None]


def no_default(owner_key: str) -> Webhook | None:
    return None


_default: DefaultWebhook = no_default


def register_default(default: DefaultWebhook) -> None:
    """`default` gives the webhook of all jobs of an owner."""
    global _default
    _default = default


def default_webhook(owner_key: str) -> Webhook | None:
    return _default(owner_key)


# ---------------------------------------------------------------- what was not delivered

UndeliveredCount = Callable[[], dict[str, int]]


def no_deliveries() -> dict[str, int]:
    return {}


_count: UndeliveredCount = no_deliveries
_waits: Callable[[], dict[str, float]] = dict


def register_count(count: UndeliveredCount, waits: Callable[[], dict[str, float]]) -> None:
    """`count` gives the number of events that wait, and of those that were given up, by what became of them; `waits` the seconds
    since the oldest of those that wait came, and since one was due that nobody sends.
    """
    global _count, _waits
    _count, _waits = count, waits


def count_undelivered() -> dict[str, int]:
    return _count()


def webhook_waits() -> dict[str, float]:
    return _waits()
