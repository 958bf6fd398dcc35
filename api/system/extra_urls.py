"""The addresses of the apps that EXTRA_APPS names."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.urls import URLResolver, include, path
from django.utils.module_loading import module_has_submodule


def extra_urls() -> list[URLResolver]:
    """The addresses of the apps that EXTRA_APPS names, of those that have a `urls` module; under /api/, after our own.

    A system check (darkroom.E031) refuses those that are no views of REST framework: nothing else asks for a key.
    """
    names = [AppConfig.create(entry).name for entry in settings.EXTRA_APPS]
    return [path("api/", include(f"{name}.urls")) for name in names if module_has_submodule(import_module(name), "urls")]
