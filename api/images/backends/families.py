"""How each family of diffusion transformers is told its prompts: plain text, which its pipeline encodes within a fixed window.  [torch]"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.errors import DarkroomError
from api.images.backends.prompts import Warn
from api.images.prompt_syntax.reading import words_of
from api.images.prompt_syntax.syntaxes import A1111, COMPEL
from api.images.spec import Txt2ImgSpec

_WEIGHTS = re.compile(r'[)"](\+|-|\d)|\)\.(blend|and)\(')


@dataclass(frozen=True)
class TextRules:
    """What a family that encodes for itself takes."""

    window: int
    """Tokens of its longest encoder."""
    tokenizer: str = "tokenizer"
    guidance: str = "guidance_scale"
    """The pipeline's argument for classifier-free guidance."""
    negative: bool = True
    clip_skip: bool = False


RULES: dict[str, TextRules] = {
    "sd3": TextRules(512, tokenizer="tokenizer_3", clip_skip=True),
    "flux": TextRules(512, tokenizer="tokenizer_2", negative=False),
    "qwen-image": TextRules(1024, guidance="true_cfg_scale"),
    "z-image": TextRules(512),
}


@dataclass
class Prompts:
    """The prompts of a batch, ready for a pipeline."""

    pipeline: Any
    family: str
    specs: Sequence[Txt2ImgSpec]
    warn: Warn

    @property
    def guided(self) -> bool:
        """Is there classifier-free guidance? Distilled models are run without, at a scale of 1 or below."""
        return self.specs[0].guidance_scale > 1

    def check(self) -> None:
        """Warn of what will have no effect; raises DarkroomError where it would be a lie to go on."""
        rules = self._rules
        if self.specs[0].clip_skip is not None and not rules.clip_skip:
            raise DarkroomError("clip_skip", 400, "This model has no CLIP layers to skip.", field="clip_skip")
        if self.specs[0].guidance_scale and not self._takes_guidance:
            self.warn("guidance_scale has no effect with this model: it was distilled without guidance.")
        if any(spec.negative_prompt for spec in self.specs) and not (rules.negative and self.guided):
            self.warn("negative_prompt has no effect with this model at this guidance_scale.")
        for spec in self.specs:
            self._check_text(spec)

    def arguments(self, specs: Sequence[Txt2ImgSpec]) -> dict[str, Any]:
        """The pipeline's arguments for one picture of each of `specs`."""
        rules, scale = self._rules, specs[0].guidance_scale
        arguments: dict[str, Any] = {
            "prompt": [_words(spec, spec.prompt) for spec in specs],
            rules.guidance: scale,
            "max_sequence_length": self._window,
        }
        if rules.negative and self.guided:
            arguments["negative_prompt"] = [_words(spec, spec.negative_prompt) or " " for spec in specs]
        if rules.clip_skip:
            arguments["clip_skip"] = specs[0].clip_skip
        return arguments

    @property
    def _rules(self) -> TextRules:
        if self.family not in RULES:
            raise DarkroomError(
                "unsupported_family", 400, f"Models of the family '{self.family}' can't be run here.", field="model_id"
            )
        return RULES[self.family]

    @property
    def _takes_guidance(self) -> bool:
        """FLUX.1-schnell was distilled without a guidance input."""
        return self.family != "flux" or bool(self.pipeline.transformer.config.guidance_embeds)

    @property
    def _window(self) -> int:
        """FLUX.1-schnell has half the window of its sibling, too."""
        return self._rules.window if self._takes_guidance else 256

    def _check_text(self, spec: Txt2ImgSpec) -> None:
        prompt = _words(spec, spec.prompt)
        if spec.prompt_syntax == A1111 and prompt != spec.prompt:
            self.warn("Weights in a prompt have no effect with this model; it was told the words alone.")
        if spec.prompt_syntax == COMPEL and _WEIGHTS.search(prompt):
            self.warn("Weights in a prompt have no effect with this model; they are read as text.")
        tokenizer = getattr(self.pipeline, self._rules.tokenizer, None)
        if tokenizer is not None and len(tokenizer(prompt)["input_ids"]) > self._window:
            self.warn(f"The prompt is longer than this model reads ({self._window} tokens); its end was left out.")


def _words(spec: Txt2ImgSpec, text: str) -> str:
    """These encoders know no weights: what AUTOMATIC1111's notation says besides words is left out."""
    return words_of(text) if spec.prompt_syntax == A1111 else text
