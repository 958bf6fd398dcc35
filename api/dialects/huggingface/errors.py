"""Errors as Hugging Face's servers send them: {"error": sentence, "error_type": code}, each field by the name that the client sent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rest_framework.exceptions import ErrorDetail, ValidationError

from api.json_types import JsonObject
from api.problems import Problem, field_errors

PREFIX = "/hf/"
PARAMETERS = "parameters"


def render_error(problem: Problem) -> JsonObject:
    sentences = " ".join(f"{error['field']}: {error['detail']}" for error in problem["errors"] if error["field"])
    code = problem["errors"][0]["code"] if problem["errors"] else problem["code"]
    return {"error": sentences or problem["detail"], "error_type": code}


@contextmanager
def in_their_names(places: Mapping[str, str]) -> Iterator[None]:
    """A capability's errors by the places of its fields in the client's body. Raises ValidationError."""
    try:
        yield
    except ValidationError as error:
        renamed: dict[str, list[ErrorDetail]] = {}
        for one in field_errors(error.detail):
            renamed.setdefault(place_of(one["field"], places), []).append(ErrorDetail(one["detail"], one["code"]))
        raise ValidationError(renamed) from None


def place_of(field: str, places: Mapping[str, str]) -> str:
    """`messages.0.content` is `inputs`, `loras.0.id` is `parameters.loras.0.id`, `steps` is `parameters.num_inference_steps`."""
    first, _, inside = field.partition(".")
    place = places.get(first, f"{PARAMETERS}.{first}" if first else "inputs")
    return f"{place}.{inside}" if inside and place.startswith(PARAMETERS) else place
