"""The catalog that this server offers: the built-in one, and the owner's file over it."""

from functools import cache

from django.conf import settings

from api.catalog import Catalog, load_catalog

CHAT_TASKS = ("image-text-to-text", "text-generation")


@cache
def get_catalog() -> Catalog:
    return load_catalog(settings.CATALOG_EXTRA).with_precision(settings.CHAT_PRECISION, CHAT_TASKS)
