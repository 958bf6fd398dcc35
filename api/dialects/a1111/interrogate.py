"""`POST /sdapi/v1/interrogate`: what is on a picture, told by the chat model that sees."""

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.chat.serializers import ChatSerializer
from api.dialects.a1111.base import A1111Dialect, read_object
from api.dialects.a1111.errors import BAD_PICTURE, RequestRefused, refusal
from api.errors import DarkroomError
from api.files.errors import InvalidImage
from api.files.inputs import HERE
from api.files.services import resolve_image
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import Json, JsonObject

CLIP = "clip"
QUESTION = "Describe this image in one short sentence."
MOST_TOKENS = 96


class InterrogateView(A1111Dialect):
    """A1111 has two models: one writes a sentence, as the default chat model does here; the other, deepdanbooru, writes tags, which
    nothing does here.
    """

    thing = "caption"

    def parse(self, request: Request) -> Submission:
        body = read_object(request)
        if body.get("model") not in (None, "", CLIP):
            raise DarkroomError("model_not_found", 404, f"Model not found: '{CLIP}' is the one that there is here.")
        if body.get("image") in (None, ""):
            raise DarkroomError("no_image", 404, "Image not found")
        try:
            return self.validated(ChatSerializer, self.ask_about(body["image"], body.get("webhook"))).resolve()  # type: ignore[no-any-return]
        except ValidationError as error:
            raise RequestRefused(error.detail) from None

    def ask_about(self, sent: object, webhook: Json) -> JsonObject:
        """The request of a chat. Raises RequestRefused."""
        try:
            file = resolve_image(owner_key=self.principal.owner_key, value=sent, see_all=self.principal.is_staff)  # type: ignore[arg-type]
        except InvalidImage as error:
            raise refusal("image", error.detail, BAD_PICTURE) from None
        picture: JsonObject = {"type": "image_url", "image_url": {"url": f"{HERE}{file.pk}"}}
        content: list[JsonObject] = [picture, {"type": "text", "text": QUESTION}]
        return {
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": MOST_TOKENS,
            "webhook": webhook,
        }

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse({"caption": (job.result or {})["choices"][0]["text"].strip()})
