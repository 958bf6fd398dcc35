"""Cutting subjects out for other capabilities (api/runtime/subject_cutting.py). torch and onnxruntime are imported where it is done."""

from collections.abc import Callable, Sequence

from django.conf import settings
from PIL import Image

from api.errors import DarkroomError
from api.specs import InputImage
from api.vision.cutout.handler import NO_SUBJECT
from api.vision.cutout.request import CutoutRequest
from api.vision.cutout.serializers import CutoutSerializer
from api.vision.cutout.spec import SEGMENTATION, CutoutSpec
from api.vision.serializers import find_model


class Cutter:
    """By models that find a subject themselves: nobody says where it is in a picture that is not made yet."""

    def settle(self, model_id: str | None) -> str:
        return find_model(model_id or settings.DEFAULT_CUTOUT_MODEL, (SEGMENTATION,), CutoutSerializer.can).id

    def cut_out(
        self,
        pictures: Sequence[Image.Image],
        model_id: str,
        classes: tuple[str, ...] | None,
        on_progress: Callable[[float, str], None],
        warn: Callable[[str], None],
    ) -> list[Image.Image]:
        from api.model_loader import get_loader
        from api.vision.backends.cutout.run_cutout import find_masks
        from api.vision.cutout.edges import alpha_of, bounds_of, cut_out

        spec = CutoutSpec(image=InputImage(""), model_id=model_id, classes=classes)
        masks = find_masks(get_loader(), model_id, [CutoutRequest(picture, spec) for picture in pictures], on_progress)
        for note in masks.notes:
            warn(note)
        if classes and not masks.uses_classes:
            warn(f"cutout.classes has no effect with {model_id}.")
        cut: list[Image.Image] = []
        for picture, mask in zip(pictures, masks.results, strict=True):
            if isinstance(mask, DarkroomError):
                raise mask
            alpha = alpha_of(mask, picture, refine=spec.refine)
            if bounds_of(alpha) is None:
                warn(NO_SUBJECT)
            cut.append(cut_out(picture, alpha))
        return cut
