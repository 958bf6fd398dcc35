"""Every address of the URL configuration that programs use, with sample values in it."""

from collections.abc import Iterator
from typing import Any

from django.urls import resolve

from tests.system.test_every_address_is_closed import addresses


def view_of(address: str) -> Any:
    return resolve(address).func


def gets() -> list[str]:
    """The addresses under /api/ that answer GET."""
    return [address for address in addresses() if address.startswith("/api/") and answers_get(address)]


def answers_get(address: str) -> bool:
    view = view_of(address)
    cls, actions = getattr(view, "cls", None), getattr(view, "actions", None)
    if cls is None:
        return True  # the event stream
    return "get" in actions if actions else hasattr(cls, "get")


def json_endpoints() -> Iterator[tuple[str, str]]:
    """(method, address) of everything that reads a body, under /api/ and in the dialects."""
    for address in addresses():
        view = view_of(address)
        cls = getattr(view, "cls", None)
        if cls is None:
            continue
        actions = getattr(view, "actions", None)
        methods = actions.keys() if actions else {name for name in ("post", "put", "patch") if hasattr(cls, name)}
        yield from ((method, address) for method in sorted(methods & {"post", "put", "patch"}))
