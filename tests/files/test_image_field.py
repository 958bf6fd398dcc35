"""The serializer field: a wrong image is a 400 that names the field."""

import base64
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from api.access.principals import LOCAL, Principal
from api.files.fields import ImageInputField
from tests.files.conftest import OWNER, encode, picture, store

pytestmark = pytest.mark.django_db
DATA = encode(picture())
ME = Principal(OWNER, frozenset({"read", "submit"}))


class PictureSerializer(serializers.Serializer[Any]):
    image = ImageInputField()
    mask = ImageInputField(mode="L", required=False)


def validate(data: Any, principal: Principal = ME) -> PictureSerializer:
    serializer = PictureSerializer(data=data, context={"principal": principal})
    serializer.is_valid()
    return serializer


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("value", [text(DATA), f"data:image/png;base64,{text(DATA)}", SimpleUploadedFile("x", DATA)])
def test_what_is_sent_becomes_a_file_of_the_requester(value: Any) -> None:
    file = validate({"image": value}).validated_data["image"]
    assert (file.owner_key, file.purpose, file.width) == (OWNER, "upload", 32)


def test_an_id_becomes_the_file_that_it_names() -> None:
    file = store()
    assert validate({"image": str(file.pk)}).validated_data["image"] == file


def test_a_multipart_file_is_read_from_a_real_request() -> None:
    http = APIRequestFactory().post("/", {"image": SimpleUploadedFile("../x.exe", DATA, "text/html")}, format="multipart")
    request = Request(http, parsers=[MultiPartParser()])
    request.auth = ME
    serializer = PictureSerializer(data=request.data, context={"request": request})
    assert serializer.is_valid(), serializer.errors
    assert serializer.validated_data["image"].name.endswith(".png")


def test_a_mask_is_kept_in_grey() -> None:
    mask = validate({"image": text(DATA), "mask": text(encode(picture(colour=9, mode="L")))}).validated_data["mask"]
    assert mask.size < 200


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("no base64!", "not_base64"),
        ("", "empty"),
        (text(b"hello"), "not_an_image"),
        (text(DATA[:60]), "damaged_image"),
        (text(encode(picture(), "GIF")), "not_an_image"),
        (text(encode(picture(), save_all=True, append_images=[picture(colour=1)])), "animated"),
        (text(encode(picture((5001, 5000), 0, "1"))), "too_many_pixels"),
        ("5880fb58-8a28-425e-a16b-b9a568c89722", "not_found"),
        ("http://example.com/a.png", "url_not_allowed"),
        (3, "invalid"),
        ([], "invalid"),
        ({}, "invalid"),
        (None, "null"),
    ],
)
@pytest.mark.parametrize("field", ["image", "mask"])
def test_a_wrong_image_is_an_error_of_its_field(field: str, value: Any, code: str) -> None:
    serializer = validate({"image": text(DATA), field: value})
    assert list(serializer.errors) == [field]
    assert serializer.errors[field][0].code == code


def test_another_owners_id_is_not_found() -> None:
    file = store(owner_key="other")
    assert validate({"image": str(file.pk)}).errors["image"][0].code == "not_found"
    assert validate({"image": str(file.pk)}, LOCAL).validated_data["image"] == file


def test_a_missing_image_is_required() -> None:
    assert validate({}).errors["image"][0].code == "required"
