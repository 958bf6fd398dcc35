"""What a request for pictures says that will change nothing: known before the work begins, and told with the job."""

from collections.abc import Iterator

from api.catalog import UnknownModel
from api.catalog.usual_settings import FLOW_FAMILIES
from api.files.formats import FORMATS
from api.images.control.warnings import control_warnings
from api.images.edit_requests import idle_edits
from api.images.few_steps import suggest_settings
from api.images.ip_adapter.warnings import image_prompt_warnings
from api.images.prompt_notation import describe_notation
from api.images.prompt_syntax.extreme_weights import describe_weights
from api.images.prompt_syntax.reading import AND_IS_NOT_DONE, has_composition
from api.images.prompt_syntax.syntaxes import A1111, COMPEL, PLAIN
from api.images.scheduler_presets import UNET_FAMILIES
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.images.upscaling.no_effect import idle_blend
from config.catalog import get_catalog

# The backends say these two as well, for callers without a job: the same words, so that a job has them once.
NO_STEPS = "steps × strength is less than one step: the picture was left as it is."
NO_GUIDANCE = "negative_prompt has no effect at a guidance_scale of 1 or below."
NO_GUIDANCE_FLOW = "negative_prompt has no effect with this model at this guidance_scale."
HIRES_IDLE = "hires has no effect on a picture that is left as it was."
NO_LOSS = "output_quality has no effect: a PNG has no loss."
NOT_RANKED = "rank_by has no effect without best_of: nothing is ranked."


def find_warnings(spec: Txt2ImgSpec) -> Iterator[str]:
    composes = spec.guidance_scale > 1 and is_unet(spec.model_id)
    yield from notation_warnings(spec.prompt_syntax, spec.prompt, spec.negative_prompt, composes=composes)
    if spec.negative_prompt and spec.guidance_scale <= 1:
        yield NO_GUIDANCE_FLOW if is_flow(spec.model_id) else NO_GUIDANCE
    if isinstance(spec, Img2ImgSpec) and spec.steps_run < 1:
        yield NO_STEPS
        if spec.hires:
            yield HIRES_IDLE
    if spec.output_quality is not None and "quality" not in FORMATS[spec.output_format].options:
        yield NO_LOSS
    if spec.rank_by and not spec.best_of:
        yield NOT_RANKED
    for lora in spec.loras:
        if lora.strengths == (0, 0):
            yield f"loras: '{lora.id}' has the weight 0, and so no effect."
        elif lora.weight not in (1, *lora.strengths):
            yield f"loras: `weight` has no effect with '{lora.id}', as `unet` and `text` are given."
    yield from idle_edits(spec)
    if spec.upscale:
        yield from (f"upscale.{sentence}" for sentence in idle_blend(spec.upscale))
    yield from control_warnings(spec.control, spec.steps_run if isinstance(spec, Img2ImgSpec) else spec.steps)
    yield from image_prompt_warnings(spec.ip_adapter)
    yield from suggest_settings(spec)


def notation_warnings(syntax: str, prompt: str, negative_prompt: str, *, composes: bool) -> Iterator[str]:
    """AUTOMATIC1111's notation, where it is read as words; and what of it is not done where it is read.

    `composes`: whether what is between AND is composed.
    """
    if syntax in (COMPEL, PLAIN):
        for field, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
            if sentence := describe_notation(field, text):
                yield sentence
    if syntax in (COMPEL, A1111):
        for field, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
            yield from describe_weights(field, text, syntax)
    if syntax == A1111 and ((has_composition(prompt) and not composes) or has_composition(negative_prompt)):
        yield AND_IS_NOT_DONE


def is_flow(model_id: str) -> bool:
    return family_of(model_id) in FLOW_FAMILIES


def is_unet(model_id: str) -> bool:
    return family_of(model_id) in UNET_FAMILIES


def family_of(model_id: str) -> str:
    try:
        return get_catalog().get(model_id).family
    except UnknownModel:  # retried after it left the catalog
        return ""
