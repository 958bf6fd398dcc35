"""What can be asked of a picture: each look is one request of the API, read by the API's own serializer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ValidationError

from api.catalog import UnknownModel
from api.chat.backend_selection import VISION_TASK, remote_models, select
from api.chat.messages import CAPTION_QUESTION
from api.chat.serializers import ChatSerializer
from api.chat.spec import ChatSpec
from api.errors import DarkroomError
from api.files.inputs import HERE
from api.json_types import JsonObject
from api.problems import field_errors
from api.scoring.serializers import ScoreSerializer
from api.scoring.spec import ScoreSpec
from api.studio.offered_models import CACHE_SECONDS, OfferedModel, describe
from api.studio.sentences import in_language
from api.vision.detection import DETECTION, OPEN_VOCABULARY
from api.vision.hazard_spec import HazardSpec
from api.vision.hazard_views import HazardSerializer
from api.vision.hazards import HAZARD_CELLS
from api.vision.ocr.models import OCR, REMOTE_MODEL
from api.vision.serializers import DetectSerializer, OcrSerializer
from api.vision.spec import DetectSpec, OcrSpec
from config.catalog import get_catalog

LEAST_SCORE = 0.1
"""The slider of the page hides what is below it: so that there is something to hide, lower scores are asked for than usual."""
LONGEST_CAPTION = 160
MARK = {"page": "look"}
"""A caption's metadata, which tells it from other chats about a picture."""


@dataclass(frozen=True)
class LookRequest:
    """What a person chose."""

    image: str
    models: Mapping[str, str]
    """By look; '' is the server's choice."""
    languages: Sequence[str] = ()
    classes: Sequence[str] = ()


@dataclass(frozen=True)
class Look:
    name: str
    kind: str
    title: Promise
    what: Promise
    serializer: type[Any]
    body: Callable[[LookRequest], JsonObject]
    tasks: tuple[str, ...] = ()
    """Of the models that can do it; none where no model is needed."""
    default_setting: str = ""

    @property
    def default_model(self) -> str:
        return str(getattr(settings, self.default_setting)) if self.default_setting else ""

    @property
    def models(self) -> list[OfferedModel]:
        """The default one first, then those that are here. A model that only another server knows is none of these."""
        found: list[OfferedModel] = cache.get_or_set(f"studio.look.{self.name}", self.find_models, CACHE_SECONDS)  # type: ignore[assignment]
        return found

    def find_models(self) -> list[OfferedModel]:
        offered = [describe(entry) for task in self.tasks for entry in get_catalog().of_task(task)]
        default = resolved(self.default_model)
        return sorted(offered, key=lambda model: (model.id != default, not model.is_here))

    @property
    def missing(self) -> str:
        """Why the default model can't do it at once, and what to do; '' where it can."""
        if self.name == "caption" and (reason := blindness()):
            return reason
        if not self.tasks or self.is_remote:
            return ""
        model = next((model for model in self.models if model.id == resolved(self.default_model)), None)
        if model is None:
            sentence = _("The model “%(model)s” is not on this server (%(setting)s). Choose another one.")
            return sentence % {"model": self.default_model, "setting": self.default_setting}
        return absence_of(model)

    @property
    def is_remote(self) -> bool:
        return self.default_model == REMOTE_MODEL or self.default_model in remote_models()


def resolved(model_id: str) -> str:
    """The catalog's id of it."""
    try:
        return get_catalog().get(model_id).id if model_id else ""
    except UnknownModel:
        return ""


def absence_of(model: OfferedModel) -> str:
    if model.is_here:
        return ""
    if get_catalog().get(model.id).repo:
        sentence = _("%(model)s is not here yet: tick it, and it is fetched first (%(facts)s).")
        return sentence % {"model": model.name, "facts": model.facts}
    return _("The files of %(model)s are not on this server; its owner can put them there.") % {"model": model.name}


def blindness() -> str:
    """Why the default chat model can't tell what it sees; '' where it can."""
    try:
        selection = select(None, "auto")
    except DarkroomError as error:
        return in_language(error.detail)
    except ValidationError as error:
        return " ".join(in_language(one["detail"]) for one in field_errors(error.detail))
    if selection.accepts_images:
        return ""
    return _("The chat model %(model)s reads text only. Choose one that sees pictures.") % {"model": selection.model}


# ---------------------------------------------------------------- the requests


def with_model(name: str, asked: LookRequest, body: JsonObject, *, field: str = "model_id") -> JsonObject:
    return {**body, field: asked.models[name]} if asked.models.get(name) else body


def ask_layout(asked: LookRequest) -> JsonObject:
    return {"image": asked.image}


def ask_things(asked: LookRequest) -> JsonObject:
    classes: JsonObject = {"classes": list(asked.classes)} if asked.classes else {}
    return with_model("things", asked, {"image": asked.image, "threshold": LEAST_SCORE, **classes})


def ask_text(asked: LookRequest) -> JsonObject:
    return with_model("text", asked, {"image": asked.image, "languages": list(asked.languages), "min_score": LEAST_SCORE})


def ask_hazards(asked: LookRequest) -> JsonObject:
    return with_model("hazards", asked, {"image": asked.image})


def ask_caption(asked: LookRequest) -> JsonObject:
    content: list[JsonObject] = [
        {"type": "image_url", "image_url": {"url": f"{HERE}{asked.image}"}},
        {"type": "text", "text": CAPTION_QUESTION},
    ]
    messages: list[JsonObject] = [{"role": "user", "content": content}]
    body: JsonObject = {"messages": messages, "temperature": 0, "max_tokens": LONGEST_CAPTION, "metadata": dict(MARK)}
    return with_model("caption", asked, body, field="model")


LOOKS = (
    Look("layout", ScoreSpec.kind, gettext_lazy("Layout"), gettext_lazy("how well it is composed, and why"), ScoreSerializer, ask_layout),
    Look(
        "things", DetectSpec.kind, gettext_lazy("Things"), gettext_lazy("what is in it, and where"), DetectSerializer, ask_things,
        (DETECTION, OPEN_VOCABULARY), "DEFAULT_DETECTION_MODEL",
    ),
    Look(
        "text", OcrSpec.kind, gettext_lazy("Text"), gettext_lazy("what is written in it"), OcrSerializer, ask_text,
        (OCR,), "DEFAULT_OCR_MODEL",
    ),
    Look(
        "hazards", HazardSpec.kind, gettext_lazy("Hazards"), gettext_lazy("what is in one's way, in a picture of the road ahead"),
        HazardSerializer, ask_hazards, (HAZARD_CELLS,), "DEFAULT_HAZARD_MODEL",
    ),
    Look(
        "caption", ChatSpec.kind, gettext_lazy("Caption"), gettext_lazy("a sentence about it"), ChatSerializer, ask_caption,
        (VISION_TASK,), "DEFAULT_CHAT_MODEL",
    ),
)  # fmt: skip
BY_KIND = {item.kind: item for item in LOOKS}
