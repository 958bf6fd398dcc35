"""The server's own settings, with the kinds of this app and one address that submits them (urls.py). Its worker loads no models."""

import os

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.jobs.kinds_app"]
ROOT_URLCONF = "tests.jobs.kinds_app.urls"
LOAD_MODELS = os.environ.get("LOAD_MODELS") == "true"
JOB_STUCK_SECONDS = int(os.environ.get("TEST_STUCK_SECONDS", "600"))  # below what an owner may set
