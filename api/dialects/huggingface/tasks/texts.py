"""image-to-text and visual-question-answering: a chat about one picture, or what OCR reads in it."""

import math
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError

from api.catalog import UnknownModel
from api.chat.backend_selection import VISION_TASK
from api.chat.messages import CAPTION_QUESTION
from api.chat.neutral_fields import ANY_VALUE
from api.chat.serializers import ChatSerializer
from api.chat.spec import ChatSpec
from api.dialects.huggingface.bodies import Body, read_object
from api.dialects.huggingface.errors import PARAMETERS
from api.dialects.huggingface.tasks.base import Task, need_picture
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.specs import field_of
from api.vision.ocr.models import OCR
from api.vision.serializers import OcrSerializer
from api.vision.spec import OcrSpec
from config.catalog import get_catalog

GENERATION = ("generation_parameters", "generate_parameters", "generate_kwargs")
"""What the writing of a text is told by: an object of this name, or the parameters themselves."""
MOST_ANSWERS = int(field_of(ChatSpec, "n").rule.maximum or 1)


class AboutPicture(Task):
    default_setting = "DEFAULT_CHAT_MODEL"
    renamed = {"max_new_tokens": "max_tokens", "model_id": "model"}
    places = {"messages": "inputs"}
    neutral = {
        "num_beams": (1,),
        "num_beam_groups": (1,),
        "early_stopping": (False, "never"),
        "use_cache": (ANY_VALUE,),
        "typical_p": (1,),
        "epsilon_cutoff": (0,),
        "eta_cutoff": (0,),
        "penalty_alpha": (0,),
        "min_length": (0,),
        "min_new_tokens": (0,),
        "max_length": (),
        "stream": (False,),
        "stream_options": (),
    }

    def chat(self, view: Dialect, parameters: JsonObject, image: Any, question: Any, **others: Any) -> Submission:
        """The likeliest words, unless the client asks for a sample of them."""
        content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": question}]
        fields = self.translate(parameters, messages=[{"role": "user", "content": content}], **others)
        samples = fields.pop("do_sample", None)
        if not isinstance(samples, bool | None):
            raise ValidationError({f"{PARAMETERS}.do_sample": ["Must be true or false."]})
        if samples is False or (samples is None and "temperature" not in fields):
            fields["temperature"] = 0
        return self.submission(view, ChatSerializer, fields)


def with_generation(parameters: JsonObject) -> JsonObject:
    """The parameters of the object inside them beside the others, which count more."""
    inside: JsonObject = {}
    for name in GENERATION:
        inside |= read_object(f"{PARAMETERS}.{name}", parameters.get(name))
    return {**inside, **{name: value for name, value in parameters.items() if name not in GENERATION}}


class ImageToText(AboutPicture):
    """`parameters.prompt` is what the model is asked, which is to describe the picture by default."""

    name = "image-to-text"
    model_tasks = (VISION_TASK, OCR)

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        image, parameters = need_picture(body.inputs), with_generation(body.parameters)
        if reads_text(model_id or parameters.get("model_id")):
            return READS_TEXT.parse(view, body, model_id)
        question = parameters.pop("prompt", CAPTION_QUESTION)
        return self.chat(view, parameters, image, question, model=model_id)

    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse:
        if job.kind == OcrSpec.kind:
            return READS_TEXT.render(view, job, body)
        return JsonResponse([{"generated_text": choice["text"]} for choice in view.result(job)["choices"]], safe=False)


class ReadsText(Task):
    """image-to-text by a model that reads what is written in a picture."""

    name = ImageToText.name
    model_tasks = (OCR,)
    default_setting = "DEFAULT_OCR_MODEL"
    places = {"image": "inputs"}

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        fields = self.translate(body.parameters, image=body.inputs, model_id=model_id)
        return self.submission(view, OcrSerializer, fields)

    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse:
        return JsonResponse([{"generated_text": view.result(job)["text"]}], safe=False)


READS_TEXT = ReadsText()


def reads_text(model_id: object) -> bool:
    try:
        return isinstance(model_id, str) and get_catalog().get(model_id).task == OCR
    except UnknownModel:
        return False


class VisualQuestionAnswering(AboutPicture):
    """The score of an answer is its probability: the product of its tokens'. null where the backend tells none."""

    name = "visual-question-answering"
    reads = ("question", "image")
    model_tasks = (VISION_TASK,)

    def is_meant(self, body: Body) -> bool:
        return body.question is not None

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        image, parameters = need_picture(body.inputs), with_generation(body.parameters)
        if not isinstance(body.question, str) or not body.question.strip():
            raise ValidationError({"question": ["Must be a text: what is asked about the picture."]}, code="required")
        answers = read_count(parameters.pop("top_k", 1))
        several = {"n": answers, "do_sample": parameters.pop("do_sample", True)} if answers > 1 else {}
        return self.chat(view, parameters, image, body.question, model=model_id, logprobs=True, **several)

    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse:
        """Each answer once, the likeliest first."""
        answers = {choice["text"].strip(): probability_of(choice) for choice in view.result(job)["choices"]}
        best_first = sorted(answers.items(), key=lambda answer: -(answer[1] or 0))
        return JsonResponse([{"answer": text, "score": score} for text, score in best_first], safe=False)


def read_count(value: object) -> int:
    """Of answers: fewer may be given than were asked for. Raises ValidationError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValidationError({f"{PARAMETERS}.top_k": ["Must be a whole number of answers, 1 or more."]})
    return min(value, MOST_ANSWERS)


def probability_of(choice: Mapping[str, Any]) -> float | None:
    tokens = choice["logprobs"]
    return round(math.exp(sum(token["logprob"] for token in tokens)), 6) if tokens else None
