"""What a tool is: a schema, and a way from arguments to an answer that an assistant can read."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from mcp_types import ImageContent, TextContent, ToolAnnotations
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import SUBMIT
from api.dialects.mcp.calls import Caller
from api.dialects.mcp.following import Call, run_jobs
from api.dialects.mcp.pictures import own_picture
from api.dialects.mcp.schemas import Schema, serializer_schema
from api.errors import DarkroomError
from api.jobs.api.serializers import render_result
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.jobs.states import Status
from api.strict import unknown_names

Result = dict[str, Any]
PICTURE = "The id of a picture here, its URL on this server, or the picture itself as a data URL or base64."
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": ["number", "null"]}
TEXTS: Schema = {"type": "array", "items": TEXT}
MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


@dataclass
class Reply:
    """`text` for people and models, `structured` for programs, by the tool's output schema."""

    text: str
    structured: Result
    pictures: Sequence[ImageContent] = ()

    @property
    def content(self) -> list[TextContent | ImageContent]:
        return [TextContent(text=self.text), *self.pictures]


class Tool(ABC):
    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    scope: ClassVar[str] = SUBMIT
    annotations: ClassVar[ToolAnnotations] = MAKES
    output: ClassVar[Schema]

    @property
    @abstractmethod
    def names(self) -> Collection[str]:
        """Of its arguments: the schema's properties, which take longer to make."""

    @abstractmethod
    def input_schema(self) -> Schema: ...

    @abstractmethod
    async def call(self, call: Call) -> Reply:
        """Raises ValidationError and DarkroomError, which are told in the answer."""

    def check_names(self, arguments: Mapping[str, Any]) -> None:
        """Raises ValidationError for an argument that is not in the schema."""
        if unknown := unknown_names(arguments, list(self.names), "argument"):
            raise ValidationError(unknown, code="unknown_field")


class JobTool(Tool):
    """One that makes a job, by the API's own serializer. A subclass says which of its fields are taken, and shows the result."""

    serializer: ClassVar[type[serializers.Serializer[Any]]]
    fields: ClassVar[tuple[str, ...]]
    texts: ClassVar[Mapping[str, str]] = {}
    """What a field is for, where its own help says too little."""
    pictures: ClassVar[Collection[str]] = ()
    """The fields that are pictures."""

    @property
    def names(self) -> Collection[str]:
        return self.fields

    @cached_property
    def schema(self) -> Schema:
        return serializer_schema(self.serializer(), self.fields, {**dict.fromkeys(self.pictures, PICTURE), **self.texts})

    def input_schema(self) -> Schema:
        return self.schema

    async def call(self, call: Call) -> Reply:
        self.check_names(call.arguments)
        return await run_jobs(lambda: [self.parse(call)], lambda jobs: self.reply(jobs[0], call), call)

    def parse(self, call: Call) -> Submission:
        return validated(self.serializer, with_pictures(call, self.pictures), call.caller)

    def reply(self, job: Job, call: Call) -> Reply:
        return self.show(job, result_of(job, call.caller), call)

    @abstractmethod
    def show(self, job: Job, result: Result, call: Call) -> Reply:
        """Of a job that succeeded."""


def with_pictures(call: Call, names: Collection[str]) -> Result:
    request = call.caller.request
    return {name: own_picture(value, request) if name in names else value for name, value in call.arguments.items()}


def validated(serializer_class: type[Any], data: Result, caller: Caller) -> Submission:
    """Raises ValidationError and DarkroomError."""
    serializer = serializer_class(data=data, context={"principal": caller.principal})
    serializer.is_valid(raise_exception=True)
    submission: Submission = serializer.resolve()
    return submission


def result_of(job: Job, caller: Caller) -> Result:
    """As /api/jobs/ gives it. Raises DarkroomError for a job that did not succeed."""
    if job.status != Status.SUCCEEDED:
        raise failure_of(job)
    return render_result(job, caller.request) or {}


def failure_of(job: Job) -> DarkroomError:
    error = job.error or {"code": "cancelled", "status": 409, "detail": "The job was cancelled."}
    return DarkroomError(error["code"], error["status"], f"{error['detail']} (Job {job.pk}.)")


def lines(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def warnings_of(jobs: Iterable[Job]) -> list[str]:
    return [warning for job in jobs for warning in job.warnings]


def tell_warnings(warnings: Iterable[str]) -> str:
    return lines(f"Warning: {warning}" for warning in warnings)
