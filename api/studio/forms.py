"""The prompt box: what a form sends, in the words of the API's own serializer."""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.http import QueryDict

from api.catalog import ModelEntry
from api.images.candidates import CRITERIA
from api.images.models import GeneratedImage
from api.images.ranking import DEFAULT
from api.images.scheduler_presets import SCHEDULER_NAMES
from api.images.serializers import TASK, Txt2ImgSerializer
from api.problems import field_errors
from api.runtime.judge_registry import kind_of
from config.catalog import get_catalog

NUMBERS = ("width", "height", "steps", "guidance_scale", "seed", "num_images", "best_of")
FIELDS = ("prompt", "negative_prompt", "model_id", "scheduler", "rank_by", *NUMBERS)


@dataclass
class PromptForm:
    """`values` as they were typed, `errors` by field; what belongs to no field is under `form`."""

    values: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> list[ModelEntry]:
        """The default one first."""
        entries = get_catalog().of_task(TASK)
        return sorted(entries, key=lambda entry: entry.id != settings.DEFAULT_IMAGE_MODEL)

    @property
    def slots(self) -> list[tuple[str, str]]:
        """Every place for an error, with what stands there now."""
        return [(name, self.errors.get(name, "")) for name in (*FIELDS, "form")]

    @property
    def schedulers(self) -> list[str]:
        return list(SCHEDULER_NAMES)

    @property
    def criteria(self) -> list[tuple[str, str]]:
        """What this server can rank by, with its words for people; the default is left to the server."""
        others = [(name, words) for name, words in CRITERIA.items() if name != DEFAULT and not kind_of(name).missing()]
        return [("", CRITERIA[DEFAULT]), *others]

    @property
    def is_extended(self) -> bool:
        """Whether the fields under "more" should be open at once."""
        return any(self.values.get(name) or self.errors.get(name) for name in FIELDS if name not in ("prompt", "model_id"))


def read_form(data: QueryDict) -> tuple[PromptForm, Txt2ImgSerializer | None]:
    """The form, and a valid serializer where nothing is wrong with it. What is left empty is the model's to decide."""
    values = {name: data.get(name, "").strip() for name in FIELDS}
    serializer = Txt2ImgSerializer(data={name: value for name, value in values.items() if value or name == "prompt"})
    if serializer.is_valid():
        if values["rank_by"] and not values["best_of"]:  # the API takes it, with a warning
            return PromptForm(values, {"rank_by": "Nothing is ranked without best_of."}), None
        return PromptForm(values), serializer
    return PromptForm(values, read_errors(serializer.errors)), None


def read_errors(errors: Any) -> dict[str, str]:
    texts: dict[str, str] = {}
    for error in field_errors(errors):
        name = error["field"] if error["field"] in FIELDS else "form"
        texts[name] = " ".join(filter(None, [texts.get(name), error["detail"]]))
    return texts


def form_of(image: GeneratedImage, *, keep_seed: bool) -> PromptForm:
    """What made a picture, ready to be made again."""
    values = {name: getattr(image, name) for name in FIELDS if hasattr(image, name)}
    if not keep_seed:
        values["seed"] = ""
    return PromptForm({name: "" if value is None else str(value) for name, value in values.items()})
