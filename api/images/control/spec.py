"""What is asked of a job that makes a control map. See api/specs.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from api.images.control.use import PREPROCESSORS
from api.json_types import JsonObject
from api.specs import InputImage, Spec, param

NAME = "kind"
"""What clients and rows call `preprocessor`, since `kind` is every spec's own kind of job."""


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec(Spec):
    """A request to make a control map of a picture."""

    kind = "preprocess"

    image: InputImage = param(help="base64, a data URL, a multipart file, or the id of an image here")
    preprocessor: str = param(choices=PREPROCESSORS, internal=True)

    def to_json(self) -> JsonObject:
        return {"image": self.image, NAME: self.preprocessor}

    @classmethod
    def from_json(cls, data: Mapping[str, object], **defaults: object) -> Self:
        return super().from_json({"preprocessor": data.get(NAME), **data}, **defaults)
