"""What a request for completions may say (OpenAI's parameters and ours)."""

import secrets
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.chat.backend_selection import select
from api.chat.completions.prompts import PromptField, spelled_out
from api.chat.completions.spec import CompletionSpec
from api.chat.neutral_fields import COMPLETION_VALUES, drop_neutral_fields, drop_off_values
from api.chat.serializers import LogitBiasField, StopField, StreamOptionsSerializer, check_stream_options
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest


class CompletionSerializer(JobRequest):
    spec = CompletionSpec

    prompt = PromptField()
    stream = serializers.BooleanField(required=False)
    stream_options = StreamOptionsSerializer(required=False)
    stop = StopField(required=False)
    logit_bias = LogitBiasField(required=False)
    suffix = serializers.CharField(required=False, allow_blank=True, help_text="Is refused: nothing here writes into a gap.")

    def to_internal_value(self, data: object) -> dict[str, object]:
        return super().to_internal_value(drop_neutral_fields(data, self.fields, COMPLETION_VALUES))

    def validate_suffix(self, value: str | None) -> None:
        if value:
            raise ValidationError("The models here write on behind a prompt; none of them fills a gap.", code="unsupported")

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = drop_off_values(data)
        check_stream_options(data)
        choices, candidates = data.get("n", 1), data.get("best_of", data.get("n", 1))
        if candidates < choices:
            raise ValidationError({"best_of": [f"Must be at least n, which is {choices}."]})
        if candidates > choices and data.get("stream"):
            raise ValidationError({"best_of": ["Which are the best is known at the end: they can't be streamed."]})
        self.selection = select(data.get("model"), data.get("backend", "auto"))
        if self.selection.backend == "remote" and data.get("echo") and data.get("logprobs") is not None:
            raise ValidationError({"echo": ["Goes without logprobs: what runs elsewhere tells none of a prompt."]})
        prompts = spelled_out(data.pop("prompt"), self.selection.model)
        return {**data, "raw_prompts": prompts}

    def resolve(self) -> Submission:
        data = self.validated_data
        spec = CompletionSpec.from_json(
            {
                **data,
                "model": self.selection.model,
                "backend": self.selection.backend,
                "variant": self.selection.variant,
                "seed": data["seed"] if "seed" in data else secrets.randbelow(2**32),
            }
        )
        return Submission(spec, fingerprint={**spec.to_json(), "seed": data.get("seed")})
