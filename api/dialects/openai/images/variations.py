"""The prompt of a variation, for which OpenAI's clients send none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.access.principals import Principal
from api.images.png_info.reading import read_png_info
from api.images.prompt_serializers import PngInfoSerializer
from api.json_types import JsonObject

NEUTRAL_PROMPT = "a picture"
TAKEN = ("prompt", "negative_prompt", "prompt_syntax")
NO_PROMPT = f"The picture's file names no prompt: '{NEUTRAL_PROMPT}' was taken. Send `prompt` to say what it shows."


@dataclass(frozen=True)
class FoundPrompt:
    """Fields of a request, and what a person should know of them."""

    fields: JsonObject
    warnings: tuple[str, ...] = ()


def find_prompt(picture: Any, beside: Mapping[str, Any], principal: Principal) -> FoundPrompt:
    """What was sent, else what the picture's file says (ours, or another program's), else a prompt of no content."""
    if beside.get("prompt"):
        return FoundPrompt({})
    serializer = PngInfoSerializer(data={"image": picture}, context={"principal": principal})
    serializer.is_valid(raise_exception=True)
    sent = serializer.validated_data["image"]
    request = read_png_info(sent.data, sent.parameters)["request"]
    if not isinstance(request, dict):
        return FoundPrompt({"prompt": NEUTRAL_PROMPT}, (NO_PROMPT,))
    return FoundPrompt({name: request[name] for name in TAKEN if name in request and beside.get(name) is None})
