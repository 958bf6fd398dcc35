"""The languages of the studio's pages: English, and one file locale/CODE/LC_MESSAGES/django.po for each other one.

gettext reads compiled files (.mo). They are made here as the settings are read, once for each state of the .po files, into the data folder:
GNU's msgfmt is on few machines, and a binary file beside each text would have to be made anew by whoever changes a word.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf.locale import LANG_INFO
from django.core.exceptions import ImproperlyConfigured

CATALOG = Path("LC_MESSAGES") / "django.po"
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd%]|\{\w*\}")
FORBIDDEN = re.compile(r'[<>"&]')
"""Django puts translations into the page as they are, in attributes, too."""


def catalogs(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{CATALOG}"))


def code_of(catalog: Path) -> str:
    """`pt-br` for locale/pt_BR/…."""
    return catalog.parents[1].name.replace("_", "-").lower()


def find_languages(folder: Path) -> list[tuple[str, str]]:
    """Codes with the languages' own names, as Django's LANGUAGES has them."""
    codes = map(code_of, catalogs(folder))
    return [("en", "English"), *((code, own_name(code)) for code in codes)]


def own_name(code: str) -> str:
    name = str(LANG_INFO.get(code, {}).get("name_local", code))
    return name[:1].upper() + name[1:]


def compile_catalogs(folder: Path, target: Path) -> Path:
    """The folder below `target` with the compiled files. Its name is made of the texts' contents: it never is out of date."""
    found = catalogs(folder)
    digest = hashlib.sha256(b"".join(code_of(path).encode() + path.read_bytes() for path in found)).hexdigest()[:16]
    compiled = target / digest
    if not compiled.is_dir():
        make_folder_of(found, compiled)
    return compiled


def make_folder_of(found: Sequence[Path], compiled: Path) -> None:
    """All or nothing: other processes may be starting."""
    compiled.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=compiled.parent))
    try:
        for path in found:
            place = work / path.parents[1].name / CATALOG.with_suffix(".mo")
            place.parent.mkdir(parents=True)
            read_catalog(path).save_as_mofile(str(place))
        work.chmod(0o755)
        os.rename(work, compiled)
    except OSError:
        if not compiled.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read_catalog(path: Path) -> Any:
    """Without the entries that can't be used, which stay English."""
    import polib  # 0.1 s, once for each state of the texts

    try:
        catalog = polib.pofile(str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"The translation {path} can't be read: {error}") from None
    for entry in [entry for entry in catalog if faults(entry)]:
        catalog.remove(entry)
    return catalog


def faults(entry: Any) -> list[str]:
    """What keeps a translated text from being used: it would break a page, or say something else. `entry`: polib's."""
    texts, found = [entry.msgstr, *entry.msgstr_plural.values()], []
    if "fuzzy" in entry.flags:
        found.append("is marked fuzzy")
    if not all(texts if not entry.msgid_plural else texts[1:]):
        found.append("is not translated")
    wanted = placeholders(entry.msgid_plural or entry.msgid)
    for text in filter(None, texts):
        if placeholders(text) != wanted:
            found.append(f"has the placeholders {sorted(placeholders(text))} where English has {sorted(wanted)}")
        if FORBIDDEN.search(text) and not FORBIDDEN.search(entry.msgid):
            found.append('has one of < > " &, which would be HTML')
    return found


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))
