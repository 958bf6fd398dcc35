"""What is done to a picture without a prompt: each a small form, read by the API's own serializer of its kind of job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rest_framework.exceptions import ParseError, ValidationError

from api.access.principals import Principal
from api.images.control.serializers import PreprocessSerializer
from api.images.upscaling.serializers import UpscaleSerializer
from api.jobs.api.webhook_field import JobRequest
from api.problems import field_errors
from api.strict import parse_json_text
from api.studio.sentences import in_language
from api.studio.submitting import Request
from api.vision.cutout.serializers import CutoutSerializer

JSON_FIELDS = ("box",)


@dataclass(frozen=True)
class Tool:
    serializer_class: type[JobRequest]
    fields: tuple[str, ...]


TOOLS = {
    "upscale": Tool(UpscaleSerializer, ("image", "model_id", "scale")),
    "cutout": Tool(CutoutSerializer, ("image", "model_id", "box")),
    "map": Tool(PreprocessSerializer, ("image", "kind")),
}


@dataclass
class ToolForm:
    """`values` as they were chosen, `errors` by field; what belongs to none is under `form`."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def tool(self) -> Tool:
        return TOOLS[self.name]

    @property
    def slots(self) -> list[tuple[str, str]]:
        """Every place for an error, with what stands there now."""
        return [(f"{self.name}-{place}", self.errors.get(place, "")) for place in (*self.tool.fields, "form")]

    def check(self, principal: Principal) -> Request | None:
        """A valid serializer where nothing is wrong with it."""
        data = {name: read_value(name, self.values[name]) for name in self.tool.fields if self.values.get(name)}
        serializer = self.tool.serializer_class(data=data, context={"principal": principal})
        if serializer.is_valid():
            return cast(Request, serializer)
        for error in field_errors(serializer.errors):
            name = error["field"].partition(".")[0]
            self.errors[name if name in self.tool.fields else "form"] = in_language(error["detail"])
        return None


def read_value(name: str, text: str) -> Any:
    if name not in JSON_FIELDS:
        return text
    try:
        return parse_json_text(text)
    except (ParseError, ValidationError):
        return text
