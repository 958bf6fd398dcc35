"""The job kind "completion": it joins the session of its model's chats. No torch."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from api.chat.completions.spec import CompletionSpec
from api.chat.handler import WritingKind, usage_of
from api.jobs.models import Job
from api.json_types import JsonObject


class CompletionKind(WritingKind[CompletionSpec]):
    name = CompletionSpec.kind
    title = _("Completion")
    spec_class = CompletionSpec

    def record(self, job: Job, output: Any) -> JsonObject:
        """The job's result: {backend, model, choices, usage}; the choices of the first prompt come first."""
        return {**{name: output[name] for name in ("backend", "model", "choices")}, "usage": usage_of(output)}

    def render_params(self, spec: CompletionSpec) -> JsonObject:
        """The body of an equal request. Without the ONNX variant, which the server selects again."""
        params = {name: value for name, value in spec.to_json().items() if name not in ("variant", "raw_prompts")}
        return {**params, "prompt": [list(prompt.tokens) if prompt.tokens else prompt.text for prompt in spec.raw_prompts]}
