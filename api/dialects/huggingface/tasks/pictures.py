"""text-to-image and image-to-image: the answer is a picture's bytes."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework.exceptions import ValidationError

from api.catalog import UPSCALING, UnknownModel
from api.chat.neutral_fields import ANY_VALUE
from api.dialects.huggingface.bodies import Body, is_picture
from api.dialects.huggingface.errors import PARAMETERS
from api.dialects.huggingface.tasks.base import Task, need_picture
from api.files.errors import MissingFile
from api.files.formats import FORMATS
from api.files.models import StoredFile
from api.files.services import read_file
from api.images.prompt_requests import LENIENT
from api.images.scheduler_presets import scheduler_of_class
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.images.spec import TEXT_TO_IMAGE
from api.images.upscaling.serializers import UpscaleSerializer
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from config.catalog import get_catalog

NEUTRAL = {
    "num_images_per_prompt": (1,),
    "eta": (0,),
    "guidance_rescale": (0,),
    "output_type": ("pil",),
    "return_dict": (ANY_VALUE,),
}


class MakesPictures(Task):
    model_tasks: ClassVar[tuple[str, ...]] = (TEXT_TO_IMAGE,)
    default_setting = "DEFAULT_IMAGE_MODEL"
    renamed = {"num_inference_steps": "steps"}
    neutral = NEUTRAL

    def fields(self, view: Dialect, parameters: JsonObject, **others: Any) -> JsonObject:
        fields = self.translate(parameters, **others)
        if fields.get("num_images") not in (None, 1):
            detail = "This address answers with one picture; POST /api/txt2img/ makes several."
            raise ValidationError({f"{PARAMETERS}.num_images": [detail]}, code="unsupported")
        scheduler = fields.get("scheduler")
        if isinstance(scheduler, str):  # this API's clients name diffusers' classes
            fields["scheduler"] = scheduler_of_class(scheduler) or scheduler
        return {"output_format": accepted_format(view), **fields}

    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse:
        [image] = view.result(job)["images"]
        file = StoredFile.objects.filter(pk=image["id"]).first()
        if file is None:
            raise MissingFile
        return HttpResponse(read_file(file), content_type=file.content_type)


def accepted_format(view: Dialect) -> str | None:
    """The first picture format that `Accept` names and that is made here."""
    names = {row.content_type: row.name for row in FORMATS.values()}
    wanted = (part.partition(";")[0].strip().lower() for part in view.request.headers.get("Accept", "").split(","))
    return next((names[media_type] for media_type in wanted if media_type in names), None)


class TextToImage(MakesPictures):
    name = "text-to-image"
    reads = ()
    places = {"prompt": "inputs"}

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        if not isinstance(body.inputs, str | None):
            detail = "Must be a text: a picture is made from it. /hf/image-to-image takes pictures."
            raise ValidationError({"inputs": [detail]}, code="invalid")
        fields = self.fields(view, body.parameters, prompt=body.inputs, model_id=model_id)
        return self.submission(view, Txt2ImgSerializer, fields)


class ImageToImage(MakesPictures):
    """Also by an upscaler, where one is named."""

    name = "image-to-image"
    model_tasks = (TEXT_TO_IMAGE, UPSCALING)
    renamed = {**MakesPictures.renamed, "mask_image": "mask"}
    places = {"image": "inputs"}

    def is_meant(self, body: Body) -> bool:
        """A picture may be named by its id here, or be damaged: then the prompt beside it tells."""
        return "prompt" in body.parameters or is_picture(body.inputs)

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        image = need_picture(body.inputs)
        fields = self.fields(view, with_target_size(body.parameters), image=image, model_id=model_id)
        if enlarges(fields.get("model_id")):
            fields = {name: value for name, value in fields.items() if value != ""}
            return self.submission(view, UpscaleSerializer, fields)
        prompt = fields.get("prompt", "")
        if isinstance(prompt, str) and not prompt.strip():
            fields |= {"prompt": "", LENIENT: True}
        return self.submission(view, Img2ImgSerializer, fields)


def with_target_size(parameters: JsonObject) -> JsonObject:
    size = parameters.get("target_size")
    if size is None:
        return parameters
    if not isinstance(size, dict) or size.keys() - {"width", "height"}:
        raise ValidationError({f"{PARAMETERS}.target_size": ["Must be an object with a width and a height."]})
    rest = {name: value for name, value in parameters.items() if name != "target_size"}
    if twice := size.keys() & rest.keys():
        raise ValidationError({f"{PARAMETERS}.{min(twice)}": ["Is in target_size, too."]}, code="repeated")
    return {**rest, **size}


def enlarges(model_id: object) -> bool:
    try:
        return isinstance(model_id, str) and get_catalog().get(model_id).task == UPSCALING
    except UnknownModel:
        return False
