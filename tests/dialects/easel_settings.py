"""The server's own settings, with one more dialect (easel.py)."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.dialects.easel"
