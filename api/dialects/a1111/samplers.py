"""Between A1111's labels of samplers and noise schedules and the names of schedulers here."""

from django.conf import settings

from api.catalog import ModelEntry
from api.dialects.a1111.errors import BAD_SAMPLER, refusal
from api.images.png_info.samplers import KARRAS, find_scheduler
from api.images.scheduler_presets import SCHEDULERS, scheduler_label
from api.strict import nearest

KARRAS_LABEL, AUTOMATIC_LABEL = "Karras", "Automatic"
LONGEST = 100


def read_sampler(sampler: str | None, schedule: str | None, entry: ModelEntry) -> tuple[str | None, str]:
    """The scheduler, None for the model's own; and a sentence where it isn't what was asked for. Raises RequestRefused."""
    if not sampler:
        return None, ""
    name, sentence = find_scheduler(sampler[:LONGEST], (schedule or "automatic")[:LONGEST])
    if name is None:
        labels = [preset.label for preset in SCHEDULERS.values()]
        raise refusal("sampler_name", f"There is no sampler '{sampler[:LONGEST]}'.{nearest(sampler, labels)}", BAD_SAMPLER)
    if not settings.USE_LOCAL_MODELS:
        return None, f"The sampler '{sampler[:LONGEST]}' has no effect: a hosted model uses its own."
    if not SCHEDULERS[name].fits(entry.family):
        return None, f"The sampler '{sampler[:LONGEST]}' does not work with {entry.name}, which was run with its own."
    return name, sentence


def labels_of(name: str | None) -> tuple[str, str]:
    """A1111's labels of the sampler and of its noise schedule; '' for the model's own."""
    if name and name.endswith(KARRAS):
        return scheduler_label(name.removesuffix(KARRAS)), KARRAS_LABEL
    return scheduler_label(name), AUTOMATIC_LABEL
