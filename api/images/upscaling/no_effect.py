"""What a request to enlarge says that will change nothing, or leaves most of the picture out: known before the work begins."""

from collections.abc import Iterator

from api.images.edit_requests import is_mostly_cropped
from api.images.upscaling.spec import UpscaleSpec, UpscaleUse


def idle_blend(use: UpscaleUse | UpscaleSpec) -> Iterator[str]:
    if use.blend is None:
        return
    if use.blend.model_id == use.model_id:
        yield f"blend has no effect: both upscalers are {use.model_id}."
    elif use.blend.weight == 0:
        yield "blend has the weight 0, and so no effect."
    elif use.blend.weight == 1:
        yield f"model_id has no effect: of {use.model_id} nothing is left beside a blend of the weight 1."


def describe_crop(spec: UpscaleSpec, width: int, height: int) -> Iterator[str]:
    """`width`, `height`: of the source."""
    if spec.width and spec.height and is_mostly_cropped((width, height), (spec.width, spec.height)):
        yield f"image: of its {width} × {height} pixels most are cropped, since {spec.width} × {spec.height} has another shape."
