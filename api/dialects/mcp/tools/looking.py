"""What is in a picture: each look is a job of its own, by the serializer of its address."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from rest_framework.exceptions import ValidationError

from api.chat.messages import CAPTION_QUESTION
from api.chat.serializers import ChatSerializer
from api.dialects.mcp.calls import Caller
from api.dialects.mcp.following import Call, run_jobs
from api.dialects.mcp.pictures import own_picture
from api.dialects.mcp.schemas import Schema, object_schema, serializer_schema
from api.dialects.mcp.tools.base import (
    PICTURE,
    TEXT,
    TEXTS,
    Reply,
    Result,
    Tool,
    failure_of,
    lines,
    result_of,
    tell_warnings,
    validated,
    warnings_of,
)
from api.files.fields import ImageInputField
from api.files.inputs import HERE
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.jobs.states import Status
from api.strict import StrictSerializer, nearest
from api.vision.hazard_views import HazardSerializer
from api.vision.serializers import DetectSerializer, OcrSerializer

LONGEST_QUESTION, LONGEST_ANSWER = 2000, 300
DESCRIPTION = "description"
CHAT_FIELDS = ("model", "max_tokens")


class PictureSerializer(StrictSerializer):
    """What all looks have in common."""

    image = ImageInputField()


@dataclass(frozen=True)
class Look:
    """`fields` of its serializer are arguments of the tool."""

    serializer: type[Any]
    body: Callable[[str, Mapping[str, Any]], Result]
    tell: Callable[[Result], str]
    keep: Callable[[Result], Any]
    fields: tuple[str, ...] = ()


def ask_chat(image: str, arguments: Mapping[str, Any]) -> Result:
    picture = {"type": "image_url", "image_url": {"url": f"{HERE}{image}"}}
    question = {"type": "text", "text": arguments.get("question") or CAPTION_QUESTION}
    given = {name: arguments[name] for name in CHAT_FIELDS if arguments.get(name) is not None}
    return {
        "messages": [{"role": "user", "content": [picture, question]}],
        "temperature": 0,
        "max_tokens": LONGEST_ANSWER,
        **given,
    }


def ask_with(*names: str) -> Callable[[str, Mapping[str, Any]], Result]:
    def ask(image: str, arguments: Mapping[str, Any]) -> Result:
        return {"image": image, **{name: arguments[name] for name in names if arguments.get(name) is not None}}

    return ask


def tell_objects(result: Result) -> str:
    found = [f"- {one['label']} ({one['score']:.2f}) at {tell_box(one['box'])}" for one in result["detections"]]
    return lines([f"Objects found: {len(found)}, in a picture of {result['width']} × {result['height']} pixels.", *found])


def tell_hazards(result: Result) -> str:
    cells = [
        f"- {', '.join(label['label'] for label in cell['labels'])}: {cell['position']['distance']}, {cell['position']['side']}"
        for cell in result["cells"]
    ]
    return lines([f"Risk: {result['risk']}.", *cells])


def tell_box(box: Mapping[str, float]) -> str:
    return f"{box['xmin']:.0f},{box['ymin']:.0f} to {box['xmax']:.0f},{box['ymax']:.0f}"


def answer_of(result: Result) -> str:
    return str(result["choices"][0]["text"]).strip()


LOOKS: dict[str, Look] = {
    DESCRIPTION: Look(ChatSerializer, ask_chat, answer_of, answer_of, CHAT_FIELDS),
    "objects": Look(
        DetectSerializer,
        ask_with("classes", "threshold"),
        tell_objects,
        lambda result: result["detections"],
        ("classes", "threshold"),
    ),
    "text": Look(
        OcrSerializer,
        ask_with("languages"),
        lambda result: f"Text read:\n{result['text']}" if result["text"] else "No text was read.",
        lambda result: result["text"],
        ("languages",),
    ),
    "hazards": Look(
        HazardSerializer, ask_with(), tell_hazards, lambda result: {name: result[name] for name in ("risk", "cells")}
    ),
}
OWN: dict[str, Schema] = {
    "image": {"type": "string", "description": PICTURE},
    "question": {
        "type": "string",
        "maxLength": LONGEST_QUESTION,
        "description": "What a chat model that sees pictures is asked; by default it describes the picture.",
    },
    "look_for": {
        "type": "array",
        "items": {"type": "string", "enum": list(LOOKS)},
        "default": [DESCRIPTION],
        "description": "description: a chat model's answer; objects: what is where, with boxes; text: what is written (OCR); hazards: on "
        "the road ahead.",
    },
}
ENTRY: Schema = {"type": "object", "additionalProperties": True}
FOUND: dict[str, Schema] = {
    DESCRIPTION: TEXT,
    "objects": {"type": "array", "items": ENTRY},
    "text": TEXT,
    "hazards": ENTRY,
}


class LookAtPicture(Tool):
    name = "look_at_picture"
    title = "Look at a picture"
    description = (
        "Says what is in a picture: a description or the answer to a question, objects with boxes, the text that is written in it, hazards "
        "on the road ahead. Ask for several at once with look_for."
    )
    texts: ClassVar[Mapping[str, str]] = {
        "model": "The chat model that answers; by default the server's.",
        "max_tokens": f"Of its answer; by default {LONGEST_ANSWER}.",
        "classes": "Of objects: only these.",
        "languages": "Of text: codes such as en or vi.",
    }
    output = object_schema(
        {"image": TEXT, "jobs": ENTRY, **FOUND, "errors": ENTRY, "warnings": TEXTS}, ("image", "jobs", "errors", "warnings")
    )

    @property
    def names(self) -> Collection[str]:
        return [*OWN, *(name for one in LOOKS.values() for name in one.fields)]

    @cached_property
    def schema(self) -> Schema:
        properties = dict(OWN)
        for one in LOOKS.values():
            properties |= serializer_schema(one.serializer(), one.fields, self.texts)["properties"]
        return object_schema(properties, ("image",))

    def input_schema(self) -> Schema:
        return self.schema

    async def call(self, call: Call) -> Reply:
        self.check_names(call.arguments)
        names = asked_looks(call.arguments)
        return await run_jobs(
            lambda: submissions(names, call), lambda jobs: show(dict(zip(names, jobs, strict=True)), call.caller), call
        )


def asked_looks(arguments: Mapping[str, Any]) -> list[str]:
    """Each once. Raises ValidationError."""
    asked = arguments.get("look_for") or [DESCRIPTION]
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        raise ValidationError({"look_for": [f"Must be a list of {', '.join(LOOKS)}."]})
    for name in asked:
        if name not in LOOKS:
            raise ValidationError({"look_for": [f"There is no look '{name[:100]}'.{nearest(name, list(LOOKS))}"]})
    asked = list(dict.fromkeys(asked))
    unused = [
        name for kind, one in LOOKS.items() if kind not in asked for name in one.fields if arguments.get(name) is not None
    ]
    if arguments.get("question") and DESCRIPTION not in asked:
        unused.append("question")
    if unused:
        raise ValidationError({name: [f"Says nothing where look_for is {', '.join(asked)}."] for name in unused})
    return asked


def submissions(names: list[str], call: Call) -> list[Submission]:
    """Of one stored picture, whatever was sent."""
    check_question(call.arguments.get("question"))
    image = read_picture(call)
    return [validated(LOOKS[name].serializer, LOOKS[name].body(image, call.arguments), call.caller) for name in names]


def read_picture(call: Call) -> str:
    """Its id. Raises ValidationError."""
    value = call.arguments.get("image")
    data = {} if value is None else {"image": own_picture(value, call.caller.request)}
    picture = PictureSerializer(data=data, context={"principal": call.caller.principal})
    picture.is_valid(raise_exception=True)
    return str(picture.validated_data["image"].pk)


def check_question(question: object) -> None:
    if question is not None and (not isinstance(question, str) or not 0 < len(question) <= LONGEST_QUESTION):
        raise ValidationError({"question": [f"Must be a text of 1 to {LONGEST_QUESTION} characters."]})


def show(jobs: Mapping[str, Job], caller: Caller) -> Reply:
    """What failed is told beside what did not; where all did, that is an error. Raises DarkroomError."""
    failed = {name: failure_of(job) for name, job in jobs.items() if job.status != Status.SUCCEEDED}
    if len(failed) == len(jobs):
        raise next(iter(failed.values()))
    results = {name: result_of(job, caller) for name, job in jobs.items() if name not in failed}
    warnings = warnings_of(jobs.values())
    found = [f"{LOOKS[name].tell(result)} (Job {jobs[name].pk}.)" for name, result in results.items()]
    structured: Result = {
        "image": str(next(iter(jobs.values())).inputs.values_list("file_id", flat=True)[0]),
        "jobs": {name: str(job.pk) for name, job in jobs.items()},
        **{name: LOOKS[name].keep(result) for name, result in results.items()},
        "errors": {name: error.detail for name, error in failed.items()},
        "warnings": warnings,
    }
    failures = [f"{name}: failed. {error.detail}" for name, error in failed.items()]
    return Reply(lines([*found, *failures, tell_warnings(warnings)]), structured)
