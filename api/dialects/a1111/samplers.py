"""From A1111's labels of samplers and noise schedules to a scheduler of the request's model."""

from django.conf import settings

from api.catalog import ModelEntry
from api.dialects.a1111.errors import BAD_SAMPLER, refusal
from api.images.sampler_names import find_scheduler
from api.images.scheduler_presets import SCHEDULERS
from api.strict import nearest

LONGEST = 100
AUTOMATIC = "automatic"


def read_sampler(sampler: str | None, schedule: str | None, entry: ModelEntry) -> tuple[str | None, str]:
    """The scheduler, None for the model's own; and a sentence where it isn't what was asked for. Raises RequestRefused."""
    if not sampler or sampler.isspace():
        is_usual = (schedule or AUTOMATIC).lower() == AUTOMATIC
        return None, "" if is_usual else "scheduler has no effect without a sampler_name: the model's own sampler was used."
    name, sentence = find_scheduler(sampler[:LONGEST], (schedule or AUTOMATIC)[:LONGEST])
    if name is None:
        labels = [preset.label for preset in SCHEDULERS.values()]
        raise refusal("sampler_name", f"There is no sampler '{sampler[:LONGEST]}'.{nearest(sampler, labels)}", BAD_SAMPLER)
    if not settings.USE_LOCAL_MODELS:
        return None, f"The sampler '{sampler[:LONGEST]}' has no effect: a hosted model uses its own."
    if not SCHEDULERS[name].fits(entry.family):
        return None, f"The sampler '{sampler[:LONGEST]}' does not work with {entry.name}, which was run with its own."
    return name, sentence
