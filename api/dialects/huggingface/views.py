"""The addresses under /hf/: a POST for each task, one for each model, and what clients ask of a server before."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.dialects.huggingface import openapi
from api.dialects.huggingface.bodies import AnyBody, Body, BodyParser, read_body
from api.dialects.huggingface.errors import render_error
from api.dialects.huggingface.tasks import TASKS, Task, find_entry, find_task, task_of, unknown_task
from api.dialects.openai.views import ChatCompletionsView
from api.errors import DarkroomError
from api.jobs.api.dialect import UNTIL_IT_ENDS, Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.problems import Problem
from api.system.selectors import readiness


class HuggingFaceView(APIView):
    error_form = openapi.ERROR
    content_negotiation_class = AnyBody
    parser_classes = [BodyParser]


class TaskView(HuggingFaceView, Dialect):
    source = "huggingface"
    default_wait = UNTIL_IT_ENDS
    refusals = openapi.REFUSALS
    task: ClassVar[Task]

    def parse(self, request: Request) -> Submission:
        self.body = read_body(request.data)
        self.asked, model_id = self.choose(self.body)
        submission = self.asked.parse(self, self.body, model_id)
        self.asked.check(self.body)
        return submission

    def choose(self, body: Body) -> tuple[Task, str | None]:
        return self.task, None

    def render(self, job: Job) -> HttpResponse:
        response = self.asked.render(self, job, self.body)
        if job.warnings:
            response["X-HF-Warning"] = warning_header(job)
        return response

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return render_error(problem)


def warning_header(job: Job) -> str:
    """`topic; message`, as huggingface_hub reads it; it shows the first of each topic."""
    text = " ".join(" ".join(job.warnings).split())
    return f"job {job.pk}; {text[:2000]}".encode("latin-1", "replace").decode("latin-1")


@extend_schema_view(post=openapi.answers_picture)
class TextToImageView(TaskView):
    """A picture of what `inputs` says, as the bytes of its file. `Accept` names its format: image/png, image/jpeg or image/webp."""

    task = TASKS["text-to-image"]


@extend_schema_view(post=openapi.answers_picture)
class ImageToImageView(TaskView):
    """A picture made from the one in `inputs`: by `parameters.prompt`, or, where `parameters.model_id` is an upscaler, enlarged."""

    task = TASKS["image-to-image"]


@extend_schema_view(post=openapi.answers_texts)
class ImageToTextView(TaskView):
    """What a model says about a picture; the words written in it, where `parameters.model_id` is an OCR model."""

    task = TASKS["image-to-text"]


@extend_schema_view(post=openapi.answers_answers)
class VisualQuestionAnsweringView(TaskView):
    """Answers to a question about a picture, each with its probability, the likeliest first."""

    task = TASKS["visual-question-answering"]


@extend_schema_view(post=openapi.answers_boxes)
class ObjectDetectionView(TaskView):
    """What is in a picture, each with its box in whole pixels; `parameters.candidate_labels` limits it to those."""

    task = TASKS["object-detection"]


@extend_schema_view(post=openapi.answers_labels)
class ZeroShotImageClassificationView(TaskView):
    """Which of `parameters.candidate_labels` fits a picture, the likeliest first."""

    task = TASKS["zero-shot-image-classification"]


@extend_schema_view(post=openapi.answers_any)
class ModelView(TaskView):
    """What the model does: a diffusion model makes a picture of a text or of a picture, a vision model describes one or answers a
    question about it, a detector finds things, a CLIP chooses a label, an upscaler enlarges, OCR reads.
    """

    task = TASKS["text-to-image"]

    def parse(self, request: Request) -> Submission:
        self.entry = find_entry(self.kwargs["model_id"])  # an unknown one is a 404, whatever is asked of it
        return super().parse(request)

    def choose(self, body: Body) -> tuple[Task, str | None]:
        return task_of(self.entry, body), self.entry.id


class ModelChatView(ChatCompletionsView):
    """OpenAI's chat completions by the model in the address: `InferenceClient.chat_completion` names none in the body."""

    source = "huggingface"
    schema = None  # that of /v1/chat/completions

    def read_body(self, request: Request) -> Any:
        data = super().read_body(request)
        return {**data, "model": find_entry(self.kwargs["model_id"]).id} if isinstance(data, dict) else data

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return render_error(problem)


# ---------------------------------------------------------------- what is asked before


class StatusView(HuggingFaceView):
    """Base of the two: of a task, or of a model."""

    def subject(self) -> tuple[Task, str]:
        """Raises DarkroomError (404)."""
        if "model_id" in self.kwargs:
            entry = find_entry(self.kwargs["model_id"])
            return task_of(entry), entry.id
        task = find_task(self.kwargs["task"])
        return task, task.default_model()


class HealthView(StatusView):
    """Whether requests may be sent: `InferenceClient.health_check`. 503 while no worker is alive."""

    @extend_schema(exclude=True)
    def get(self, request: Request, **kwargs: object) -> Response:
        self.subject()
        if readiness() == "no_worker":
            raise DarkroomError("no_worker", 503, "No worker is alive to run jobs.", headers={"Retry-After": "5"})
        return Response({"status": "ok"})


class InfoView(StatusView):
    """Which model answers: `InferenceClient.get_endpoint_info`."""

    @extend_schema(exclude=True)
    def get(self, request: Request, **kwargs: object) -> Response:
        task, model_id = self.subject()
        return Response({"model_id": model_id, "model_pipeline_tag": task.name})


class UnknownTaskView(HuggingFaceView):
    """For every other address of a task's form: says which tasks there are."""

    schema = None

    def post(self, request: Request, task: str) -> Response:
        raise unknown_task(task)

    get = post
