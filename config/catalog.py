"""The catalog that this server offers: the built-in one, the owner's file over it, and the files of LIBRARY_DIRS."""

import dataclasses
from collections.abc import Callable
from functools import cache

from django.conf import settings

from api.catalog import Catalog, EntrySource, load_catalog

CHAT_TASKS = ("image-text-to-text", "text-generation")
_sources: list[EntrySource] = []
_scheduler_checks: list[Callable[[str, str], str]] = []


def register_source(source: EntrySource) -> None:
    """What is asked for entries that no table has, where LIBRARY_DIRS names a folder. Called by api/library, which stands above."""
    _sources[:] = [source]


def register_scheduler_check(why_not: Callable[[str, str], str]) -> None:
    """What says why a scheduler doesn't work with a family. Called by api/images, which stands above."""
    _scheduler_checks[:] = [why_not]


def why_no_scheduler(name: str, family: str) -> str:
    """The rest of a sentence about what names it; "" where it works with models of `family`."""
    return next((why_not(name, family) for why_not in _scheduler_checks), "")


@cache
def get_catalog() -> Catalog:
    return dataclasses.replace(get_tables(), source=_sources[0] if settings.LIBRARY_DIRS and _sources else None)


def get_tables() -> Catalog:
    """What the TOML files say, without the library: for what must not ask the database."""
    return load_catalog(settings.CATALOG_EXTRA).with_precision(settings.CHAT_PRECISION, CHAT_TASKS)
