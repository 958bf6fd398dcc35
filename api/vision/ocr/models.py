"""What reads pictures here: models of the catalog, and an owner's server. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.conf import settings

from api.catalog import ModelEntry
from api.errors import DarkroomError
from api.vision.ocr.alphabets import characters_of_recogniser
from api.vision.ocr.installed import letters_of
from api.vision.ocr.languages import (
    Engine,
    Language,
    Letters,
    UnreadableLanguage,
    choose_engine,
    find_language,
    install_line,
    languages,
)
from config.catalog import get_catalog

OCR = "ocr"
REMOTE_MODEL = "remote-ocr"
"""The model_id of the server at OCR_REMOTE_URL."""
REMOTE_ENGINE = "remote"


def has_remote() -> bool:
    return bool(settings.OCR_REMOTE_URL)


def known_models() -> list[str]:
    return [*(entry.id for entry in get_catalog().of_task(OCR)), *([REMOTE_MODEL] if has_remote() else [])]


def letters_of_model(entry: ModelEntry) -> Letters | None:
    """What its recogniser can write; None while its files are not here."""
    from api.downloads.store import ModelStore  # the hub's client takes a third of a second to import

    folder = ModelStore(settings.MODELS_DIR).folder(entry)
    return characters_of_recogniser(folder) if folder else None


def check_languages(model_id: str, codes: Sequence[str]) -> None:
    """Raises DarkroomError (400) where this machine can't read them. What another machine's worker can, only that one knows."""
    wanted = [find_language(code) for code in codes]
    if model_id == REMOTE_MODEL:
        if missing := [language for language in wanted if not remote_engine(language)]:
            names = " and ".join(language.name for language in missing)
            detail = f"The OCR server is not said to read {names}: see OCR_REMOTE_LANGUAGES."
            raise DarkroomError("language_not_installed", 400, detail, field="languages")
        return
    letters = letters_of_model(get_catalog().get(model_id))
    if letters is not None and settings.JOB_RUNNER == "embedded":
        choose_engine(wanted, letters, letters_of)


def describe_languages(model_id: str) -> Iterator[dict[str, object]]:
    """Every language that is known, with what reads it here."""
    is_remote = model_id == REMOTE_MODEL
    letters = frozenset() if is_remote else letters_of_model(get_catalog().get(model_id)) or frozenset()
    for language in languages().values():
        engine = remote_engine(language) if is_remote else engine_here(language, letters)
        install = None if engine or is_remote or letters_of(language.tesseract) else install_line([language])
        yield {
            "code": language.code,
            "name": language.name,
            "available": engine is not None,
            "engine": engine.name if engine else None,
            "missing_letters": "".join(engine.missing) if engine else "",
            "install": install,
        }


def remote_engine(language: Language) -> Engine | None:
    return Engine(REMOTE_ENGINE, ()) if language.code in settings.OCR_REMOTE_LANGUAGES else None


def engine_here(language: Language, letters: Letters) -> Engine | None:
    try:
        return choose_engine([language], letters, letters_of)
    except UnreadableLanguage:
        return None
