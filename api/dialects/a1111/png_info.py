"""`POST /sdapi/v1/png-info`: what a picture's file says of how it was made. Makes no job."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from api.access.scopes import READ, Principal
from api.dialects.a1111.base import A1111View, read_object
from api.dialects.a1111.errors import BAD_PICTURE, refusal
from api.files.decoding import decode_image
from api.files.errors import InvalidImage
from api.files.inputs import decode_input, parse_id
from api.files.services import find_named, read_file
from api.images.png_info.a1111 import split_infotext
from api.images.png_info.texts import read_texts
from api.json_types import JsonObject

PARAMETERS = "parameters"


class PngInfoView(A1111View):
    required_scope = READ

    def post(self, request: Request) -> Response:
        texts = read_texts(read_picture(read_object(request).get("image"), self.principal))
        info = texts.get(PARAMETERS, "")
        return Response({"info": info, "items": texts, PARAMETERS: read_parameters(info)})


def read_picture(sent: Any, principal: Principal) -> bytes:
    """The file as it is: the one that was sent, or that of a picture here. Raises RequestRefused."""
    try:
        identifier = parse_id(sent)
        if identifier is not None:
            return read_file(find_named(identifier, principal.owner_key, principal.is_staff))
        data = decode_input(sent)
        decode_image(data)
    except InvalidImage as error:
        raise refusal("image", error.detail, BAD_PICTURE) from None
    return data


def read_parameters(info: str) -> JsonObject:
    """As its own page is filled in from them: the settings as texts, the size in two."""
    parts = split_infotext(info)
    if parts is None:
        return {}
    prompt, negative, pairs = parts
    width, by, height = pairs.get("Size", "").partition("x")
    size = {"Size-1": width, "Size-2": height} if by else {}
    return {"Prompt": prompt, "Negative prompt": negative, "Clip skip": "1", **pairs, **size}
