"""The one table of formats: every row is read and written, and no other place lists formats."""

import ast
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.errors import DarkroomError
from api.files.decoding import decode_image
from api.files.errors import InvalidImage
from api.files.formats import FORMATS, THUMBNAIL, PictureFormat, encode, join_words, list_labels
from api.files.models import StoredFile
from api.files.responses import file_response
from api.files.services import create_file, open_image
from api.files.storage import OUTPUT, write_image_files
from api.files.sweep import FILE
from api.images.metadata import encode_image
from api.images.serializers import Txt2ImgSerializer
from api.images.spec import Txt2ImgSpec
from api.specs import fields_of
from tests.files.conftest import OWNER, picture
from tests.parameters import read_parameters

ROOT = Path(__file__).parents[2]
every_format = pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)


def test_avif_is_one_of_them() -> None:
    assert list(FORMATS) == ["png", "jpeg", "webp", "avif"]
    assert list_labels() == "PNG, JPEG, WebP or AVIF"


def test_one_word_is_joined_to_itself() -> None:
    assert join_words(["PNG"]) == "PNG"


@every_format
def test_a_request_may_ask_for_it(row: PictureFormat) -> None:
    assert row.name in Txt2ImgSerializer().fields["output_format"].choices  # type: ignore[attr-defined]
    (field,) = (field for field in fields_of(Txt2ImgSpec) if field.name == "output_format")
    assert row.name in field.rule.choices


@every_format
def test_what_is_written_is_read_again(row: PictureFormat) -> None:
    data = encode(picture((64, 40)), row)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == row.codec
    read = decode_image(data)
    assert read.size == (64, 40)
    assert max(abs(a - b) for a, b in zip(read.getpixel((9, 9)), (200, 40, 90), strict=True)) <= 4  # type: ignore[arg-type]


@every_format
def test_transparency_is_kept_where_the_format_has_it(row: PictureFormat) -> None:
    with Image.open(io.BytesIO(encode(picture(colour=(255, 0, 0, 0), mode="RGBA"), row))) as opened:
        assert opened.has_transparency_data == row.has_alpha


@every_format
def test_a_file_carries_its_parameters(row: PictureFormat) -> None:
    parameters = {"prompt": "озеро at sunset", "seed": 42, "loras": []}
    assert read_parameters(encode_image(picture((64, 40)), row.name, parameters, pytest.fail)) == parameters


@every_format
@pytest.mark.django_db
def test_a_file_is_stored_and_served_as_what_it_is(row: PictureFormat, rf: Any, media: Path) -> None:
    written = write_image_files(encode(picture(), row), picture(), row.name)
    file = create_file(written, owner_key=OWNER, purpose=OUTPUT)
    assert Path(written.name).suffix == row.suffixes[0]
    assert file_response(rf.get("/"), file)["Content-Type"] == row.content_type
    assert file_response(rf.get("/"), file, thumbnail=True)["Content-Type"] == THUMBNAIL.content_type
    assert open_image(StoredFile.objects.get()).size == (32, 16)
    assert FILE.fullmatch(Path(written.name).name)


@every_format
def test_what_is_too_large_for_it_is_a_sentence(row: PictureFormat) -> None:
    small, article = replace(row, max_side=31), "An" if row.label == "AVIF" else "A"
    with pytest.raises(
        DarkroomError, match=f"{article} {row.label} picture has at most 31 pixels on a side, and this one has 32 × 16."
    ):
        encode(picture((32, 16)), small)


@pytest.mark.parametrize("row", [row for row in FORMATS.values() if row.max_side < 2**31 - 1], ids=lambda row: row.name)
def test_the_largest_side_is_what_the_codec_can_do(row: PictureFormat) -> None:
    data = encode(Image.new("RGB", (row.max_side, 8)), row)
    assert decode_image(data).width == row.max_side
    with pytest.raises(DarkroomError) as caught:
        encode(Image.new("RGB", (row.max_side + 1, 8)), row)
    assert (caught.value.code, caught.value.status, caught.value.field) == ("too_large_for_format", 400, "output_format")


@pytest.mark.parametrize("row", [row for row in FORMATS.values() if row.refuses_animation], ids=lambda row: row.name)
def test_an_animation_is_refused(row: PictureFormat) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, row.codec, save_all=True, append_images=[picture(colour=(1, 2, 3))])
    with pytest.raises(InvalidImage) as caught:
        decode_image(buffer.getvalue())
    assert caught.value.code == "animated"


@every_format
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_refused(row: PictureFormat, part: float) -> None:
    data = encode(Image.effect_noise((200, 200), 80).convert("RGB"), row)
    with pytest.raises(InvalidImage) as caught:
        decode_image(data[: int(len(data) * part)])
    assert caught.value.code in ("damaged_image", "not_an_image")


LISTS = {
    "api/files/formats.py",
    "api/dialects/a1111/option_table.py",  # the values that A1111's own options have
    "api/dialects/openai/images/replies.py",  # the formats that OpenAI has words for
    "api/dialects/mcp/pictures.py",  # the types that assistants pass on to their models
    "api/system/management/commands/caption.py",  # suffixes of pictures that are not read are told, avif among them
}


def test_no_other_place_has_a_list_of_formats() -> None:
    words = {*FORMATS, *(word for row in FORMATS.values() for word in (row.codec, row.content_type, *row.suffixes))}
    found: dict[str, set[str]] = {}
    for path in (ROOT / "api").rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if name in LISTS or name.startswith("api/starter/"):
            continue
        constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        if len(listed := {value for value in constants if isinstance(value, str)} & words) > 1:
            found[name] = listed
    assert found == {}
