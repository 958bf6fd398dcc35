"""What a task of Hugging Face's is here: a capability's request and result, in the words of its clients."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from rest_framework.exceptions import ValidationError

from api.chat.neutral_fields import drop_neutral_fields
from api.dialects.huggingface.bodies import Body
from api.dialects.huggingface.errors import PARAMETERS, in_their_names
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from config.catalog import get_catalog


class Task(ABC):
    name: ClassVar[str]
    model_tasks: ClassVar[tuple[str, ...]]
    """Of the catalog's models that do it."""
    default_setting: ClassVar[str]
    """Names the model of requests that name none."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Their parameters to the fields of ours that are called otherwise; our own names are taken, too."""
    places: ClassVar[Mapping[str, str]] = {}
    """Our fields that don't come from a parameter, to their places in the body."""
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Parameters that nothing here answers to, with the values that ask for nothing."""

    reads: ClassVar[tuple[str, ...]] = ("image",)
    """What may stand beside `inputs`, or in it."""

    def check(self, body: Body) -> None:
        """Raises ValidationError for what the task does not read."""
        unread = {name: [f"{self.name} reads no {name}; leave it out."] for name in body.beside if name not in self.reads}
        if unread:
            raise ValidationError(unread, code="unsupported")

    def is_meant(self, body: Body) -> bool:
        """Whether the body of a request that names a model alone asks for this one of the model's tasks."""
        return False

    @abstractmethod
    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        """Raises ValidationError, with the places in the client's body."""

    @abstractmethod
    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse: ...

    def default_model(self) -> str:
        return get_catalog().get(getattr(settings, self.default_setting)).id

    # ------------------------------------------------------------ for subclasses

    def submission(self, view: Dialect, serializer: Any, fields: JsonObject, **context: Any) -> Submission:
        with in_their_names({**{ours: f"{PARAMETERS}.{theirs}" for theirs, ours in self.renamed.items()}, **self.places}):
            return view.validated(serializer, fields, **context).resolve()  # type: ignore[no-any-return]

    def translate(self, parameters: JsonObject, **others: Any) -> JsonObject:
        """Our fields: the parameters, and those of `others` that were given. Raises ValidationError for one that is said twice."""
        with in_their_names({}):
            known = drop_neutral_fields(parameters, (), self.neutral)
        fields = {name: value for name, value in others.items() if value is not None}
        for theirs, value in known.items():  # type: ignore[attr-defined]
            ours = self.renamed.get(theirs, theirs)
            if ours in fields:
                raise ValidationError({f"{PARAMETERS}.{theirs}": ["Is said elsewhere in the request, too."]}, code="repeated")
            fields[ours] = value
        return fields


def need_picture(inputs: Any) -> Any:
    """Raises ValidationError where nothing was sent; what it is, its field says."""
    if inputs is None:
        detail = "Send a picture: its bytes as the body, or base64 as `inputs` of a JSON object."
        raise ValidationError({"inputs": [detail]}, code="required")
    return inputs
