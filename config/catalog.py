"""The catalog that this server offers: the built-in one, and the owner's file over it."""

from functools import cache

from django.conf import settings

from api.catalog import Catalog, load_catalog


@cache
def get_catalog() -> Catalog:
    return load_catalog(settings.CATALOG_EXTRA)
