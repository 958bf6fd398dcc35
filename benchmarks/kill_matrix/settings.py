"""The server with the kinds of the tests (quick, each with its own row of effects) beside its own, of which pictures are really made."""

from tests.jobs.kinds_app.settings import *  # noqa: F403
from tests.jobs.kinds_app.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.kill_matrix"]
