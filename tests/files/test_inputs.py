"""The ways to hand over an image, and what is said where one is not right."""

import base64
from contextlib import suppress
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st

from api.files.errors import InvalidImage
from api.files.inputs import decode_input, parse_id

DATA = bytes(range(256))
TEXT = base64.b64encode(DATA).decode()


def refusal(value: Any) -> str:
    with pytest.raises(InvalidImage) as caught:
        decode_input(value)
    return caught.value.code


@pytest.mark.parametrize(
    "value",
    [
        TEXT,
        TEXT[:100] + "\r\n " + TEXT[100:],
        f"data:image/png;base64,{TEXT}",
        f"DATA:;BASE64,{TEXT}",
        f"data:image/webp;a=b;base64,\n{TEXT}",
    ],
)
def test_base64_and_data_urls_give_the_bytes(value: str) -> None:
    assert decode_input(value) == DATA


def test_a_file_gives_the_bytes() -> None:
    assert decode_input(SimpleUploadedFile("../../etc/passwd", DATA)) == DATA


@pytest.mark.parametrize(
    "value", ["not base64!", TEXT[:-1], "äöü", "data:image/png;base64", "data:image/png,abc", "data:,", "\0", "/etc/passwd.png"]
)
def test_what_is_not_base64_is_refused(value: str) -> None:
    assert refusal(value) == "not_base64"


@pytest.mark.parametrize("value", [None, 3, 3.5, True, [TEXT], {"a": 1}, b"bytes"])
def test_what_is_no_text_is_refused(value: object) -> None:
    assert refusal(value) == "invalid"


def test_a_file_over_the_limit_is_refused(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 255
    assert refusal(SimpleUploadedFile("a.png", DATA)) == "too_large"


@pytest.mark.parametrize(
    "url", ["http://example.com/a.png", "HTTPS://example.com", "file:///etc/passwd", "ftp://example.com/a", "gopher://x"]
)
def test_addresses_are_refused_by_default(url: str) -> None:
    assert refusal(url) == "url_not_allowed"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/a", "http://user:pw@example.com/", "http://", "http://[::1", "http://a:99999/"],
)
def test_other_addresses_are_refused_even_where_urls_are_allowed(settings: Any, url: str) -> None:
    settings.ALLOW_IMAGE_URLS = True
    assert refusal(url) == "url_not_allowed"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.png", "http://[::1]:8000/", "http://localhost/", "http://0/", "http://2130706433/", "http://0x7f.1/"],
)
def test_this_machine_is_refused_even_where_urls_are_allowed(settings: Any, url: str) -> None:
    settings.ALLOW_IMAGE_URLS = True
    assert refusal(url) == "url_not_allowed"


def test_an_id_has_the_usual_form() -> None:
    assert str(parse_id("0197C0DE-0000-7000-8000-000000000000")) == "0197c0de-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "value", ["0197c0de000070008000000000000000", "{0197c0de-0000-7000-8000-000000000000}", "urn:uuid:x", "", None, 3, TEXT]
)
def test_nothing_else_is_an_id(value: object) -> None:
    assert parse_id(value) is None


@given(st.text(max_size=200))
def test_any_text_gives_bytes_or_a_refusal(value: str) -> None:
    with suppress(InvalidImage):
        assert isinstance(decode_input(value), bytes)


@given(st.binary(max_size=500))
def test_what_was_encoded_comes_back(data: bytes) -> None:
    assert decode_input(base64.b64encode(data).decode()) == data
