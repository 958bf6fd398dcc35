"""What of Tesseract is installed on this machine: the program, and the letters of its languages. No Django, no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from api.vision.ocr.alphabets import characters_of_traineddata
from api.vision.ocr.languages import Letters

PROGRAM = "tesseract"
PASSED_ON = ("PATH", "TESSDATA_PREFIX", "LD_LIBRARY_PATH")
SECONDS = 10.0


def find_tesseract() -> str | None:
    return shutil.which(PROGRAM)


def letters_of(language: str) -> Letters:
    """What Tesseract can write with this traineddata; nothing where the program or the data is not installed."""
    program = find_tesseract()
    folder = data_folder(program, os.environ.get("TESSDATA_PREFIX", "")) if program else None
    return characters_of_traineddata(folder / f"{language}.traineddata") if folder else frozenset()


@cache
def data_folder(program: str, prefix: str) -> Path | None:
    """Where the program looks for its languages, as it says itself: List of available languages in "/usr/share/…/" (3):"""
    done = subprocess.run([program, "--list-langs"], capture_output=True, text=True, env=environment(), timeout=SECONDS)
    parts = done.stdout.partition("\n")[0].split('"')
    return Path(parts[1]) if done.returncode == 0 and len(parts) == 3 else None


def environment() -> dict[str, str]:
    """Of Tesseract's process. One thread: with several, on two cores, it took ten times as long."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed, "OMP_THREAD_LIMIT": "1", "LC_ALL": "C.UTF-8"}
