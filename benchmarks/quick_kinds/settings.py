from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.quick_kinds"]
LOAD_MODELS = False
PROMPT_SCORES = False
