"""Which engine reads a language is decided by the letters that it has."""

import shutil
import unicodedata
from pathlib import Path

import onnx
import pytest

from api.catalog import CatalogError, load_catalog
from api.vision.ocr import installed
from api.vision.ocr.alphabets import characters_of_recogniser, characters_of_traineddata
from api.vision.ocr.languages import (
    LEAST_SHARE,
    UnknownLanguage,
    UnreadableLanguage,
    choose_engine,
    find_language,
    languages,
)
from tests.vision.ocr import PP_OCR, RECOGNISER, needs_tesseract

ENGLISH, VIETNAMESE, CHINESE = (find_language(code) for code in ("en", "vi", "zh"))
LATIN = ENGLISH.letters


def nothing(name: str) -> frozenset[str]:
    return frozenset()


def of_vietnamese(name: str) -> frozenset[str]:
    return VIETNAMESE.letters - {"ỵ", "Ỵ"} if name == "vie" else frozenset()


def test_the_characters_of_a_recogniser_are_read_as_onnx_reads_them() -> None:
    props = {prop.key: prop.value for prop in onnx.load(RECOGNISER).metadata_props}
    expected = unicodedata.normalize("NFC", props["character"].replace("\n", ""))
    assert characters_of_recogniser(PP_OCR) == frozenset(expected)


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model", b"\xff" * 64, b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_recogniser_has_no_characters(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rec.onnx").write_bytes(content)
    assert characters_of_recogniser(tmp_path) == frozenset()
    assert characters_of_recogniser(tmp_path / "nowhere") == frozenset()


def test_the_shipped_recogniser_has_english_german_and_chinese_and_lacks_most_of_vietnamese() -> None:
    letters = characters_of_recogniser(PP_OCR)
    assert not ENGLISH.missing(letters)
    assert not find_language("de").missing(letters)
    assert not CHINESE.missing(letters)
    assert len(VIETNAMESE.missing(letters)) == 88
    assert "ư" not in VIETNAMESE.missing(letters)
    assert "ệ" in VIETNAMESE.missing(letters)


@needs_tesseract
def test_the_characters_of_tesseracts_data_are_those_of_its_line_recogniser() -> None:
    letters = installed.letters_of("vie")
    assert VIETNAMESE.missing(letters) == ["Ỵ", "ỵ"]
    assert installed.letters_of("nonesuch") == frozenset()


def test_data_without_a_line_recogniser_has_no_letters(tmp_path: Path) -> None:
    (tmp_path / "old.traineddata").write_bytes((24).to_bytes(4, "little") + b"\xff" * 8 * 24)
    assert characters_of_traineddata(tmp_path / "old.traineddata") == frozenset()
    assert characters_of_traineddata(tmp_path / "none.traineddata") == frozenset()


def test_without_the_program_tesseract_has_no_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert installed.letters_of("vie") == frozenset()


def test_the_engine_that_lacks_the_fewest_letters_reads_and_pp_ocr_on_a_tie() -> None:
    assert choose_engine([ENGLISH], LATIN, lambda name: LATIN).name == "pp-ocr"
    vietnamese = choose_engine([VIETNAMESE], LATIN, of_vietnamese)
    assert (vietnamese.name, vietnamese.missing) == ("tesseract", ("Ỵ", "ỵ"))
    assert choose_engine([VIETNAMESE], VIETNAMESE.letters, of_vietnamese).name == "pp-ocr"


def test_an_engine_reads_several_languages_only_if_it_has_the_letters_of_all() -> None:
    assert choose_engine([ENGLISH, VIETNAMESE], LATIN, lambda name: LATIN | of_vietnamese("vie")).name == "tesseract"
    with pytest.raises(UnreadableLanguage, match="tesseract-ocr tesseract-ocr-eng`"):
        choose_engine([ENGLISH, VIETNAMESE], LATIN, of_vietnamese)


def test_an_engine_that_lacks_many_letters_does_not_read_the_language() -> None:
    count = round(len(VIETNAMESE.letters) * LEAST_SHARE)
    enough, few = (frozenset(sorted(VIETNAMESE.letters)[:kept]) for kept in (count + 1, count - 1))
    assert choose_engine([VIETNAMESE], frozenset(), lambda name: enough).name == "tesseract"
    with pytest.raises(UnreadableLanguage, match="lacks too many"):
        choose_engine([VIETNAMESE], frozenset(), lambda name: few)


@pytest.mark.parametrize(
    ("codes", "line"),
    [
        (["vi"], "`apt-get install tesseract-ocr tesseract-ocr-vie`"),
        (["vi", "zh"], "`apt-get install tesseract-ocr tesseract-ocr-vie tesseract-ocr-chi-sim`"),
    ],
)
def test_a_language_that_nothing_reads_is_refused_with_the_line_that_installs_it(codes: list[str], line: str) -> None:
    with pytest.raises(UnreadableLanguage) as refused:
        choose_engine([find_language(code) for code in codes], LATIN, nothing)
    assert line in refused.value.detail
    assert (refused.value.status, refused.value.field) == (400, "languages")


def test_a_language_is_found_by_its_code_in_any_case_and_with_a_region() -> None:
    assert [find_language(code).code for code in ("vi", "VI", "vi-VN", "vi_VN", "zh-Hant", "zh-hant", "zh-CN")] == [
        "vi", "vi", "vi", "vi", "zh-Hant", "zh-Hant", "zh"
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["xx", "", "vietnamese", "../en", "v" * 35])
def test_an_unknown_language_is_an_error_that_lists_the_known_ones(code: str) -> None:
    with pytest.raises(UnknownLanguage, match="vi, zh, zh-Hant"):
        find_language(code)


def test_every_language_of_the_table_has_letters_in_nfc_and_in_both_cases() -> None:
    assert len(languages()) >= 40
    for language in languages().values():
        assert len(language.letters) > 20, language
        assert all(len(letter) == 1 for letter in language.letters)
    assert {"ß", "Ä", "ä"} <= find_language("de").letters
    assert {"İ", "ı", "i", "I"} <= find_language("tr").letters


# ---------------------------------------------------------------- the catalog


def test_the_shipped_model_lies_in_the_package_that_brings_it() -> None:
    entry = load_catalog().get("pp-ocr")
    assert (entry.task, entry.licence) == ("ocr", "Apache-2.0")
    assert RECOGNISER.parent == entry.path


def test_a_package_that_is_not_installed_is_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('[models.mine]\ntask = "ocr"\npackage = "nonesuch_package"\npath = "models"\n')
    path = load_catalog(tmp_path / "more.toml").get("mine").path
    assert path is not None
    assert not path.exists()


@pytest.mark.parametrize("name", ["a.b", "../x", "os; import", ""])
def test_a_package_is_a_plain_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "more.toml").write_text(f'[models.mine]\ntask = "ocr"\npackage = "{name}"\npath = "models"\n')
    with pytest.raises(CatalogError, match='"package"'):
        load_catalog(tmp_path / "more.toml")
