"""`manage.py translations`: what each language lacks; with a language's code, its file is brought up to date, or made."""

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import django.conf
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import to_locale

from api.studio.marked_texts import Text, find_texts
from config.languages import CATALOG, catalogs, faults

HEADER = {"Content-Type": "text/plain; charset=UTF-8", "Content-Transfer-Encoding": "8bit"}


class Command(BaseCommand):
    help = "Lists the texts of the studio that a language lacks. With CODE, writes them into locale/CODE/LC_MESSAGES/django.po."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code", nargs="?", default="", help="a language, for example fr or pt-br")

    def handle(self, *args: object, code: str, **options: object) -> None:
        folder = Path(settings.BASE_DIR) / "locale"
        texts = find_texts(Path(settings.BASE_DIR))
        if code:
            update(folder / to_locale(code) / CATALOG, texts)
        lacking = [f"{path.parents[1].name}: {line}" for path in catalogs(folder) for line in lacking_in(path, texts)]
        self.stdout.write("\n".join(lacking) or f"All {len(texts)} texts are translated.")
        if lacking and not code:
            raise CommandError(f"{len(lacking)} texts have no translation that can be used.")


def lacking_in(path: Path, texts: dict[Text, str]) -> list[str]:
    """A line for each text that stays English."""
    there = entries(path)
    lines = []
    for text, place in texts.items():
        wrong = faults(there[text]) if text in there else ["is missing"]
        lines += [f"{place}: {text.text!r} {'; '.join(wrong)}"] if wrong else []
    return lines


def entries(path: Path) -> dict[Text, Any]:
    import polib

    return {Text(entry.msgid, entry.msgid_plural): entry for entry in polib.pofile(str(path))}


def plural_forms(path: Path) -> dict[str, str]:
    """As Django's own translation has them."""
    import polib

    of_django = Path(django.conf.__file__).parent / "locale" / path.parents[1].name / CATALOG
    named = polib.pofile(str(of_django)).metadata if of_django.exists() else {}
    return {"Plural-Forms": named["Plural-Forms"]} if "Plural-Forms" in named else {}


def update(path: Path, texts: dict[Text, str]) -> None:
    """New texts come to the end, to be translated; those that nothing shows any more go."""
    import polib

    path.parent.mkdir(parents=True, exist_ok=True)
    catalog: Any = polib.pofile(str(path), wrapwidth=0) if path.exists() else polib.POFile(wrapwidth=0)
    catalog.metadata = {**HEADER, **plural_forms(path), **catalog.metadata}
    forms = dict.fromkeys(range(int(re.findall(r"nplurals=(\d)", catalog.metadata.get("Plural-Forms", "nplurals=2"))[0])), "")
    for entry in [entry for entry in catalog if Text(entry.msgid, entry.msgid_plural) not in texts]:
        catalog.remove(entry)
    there = {Text(entry.msgid, entry.msgid_plural) for entry in catalog}
    for text in texts:
        if text not in there:
            plural: dict[str, Any] = {"msgid_plural": text.plural, "msgstr_plural": dict(forms)} if text.plural else {}
            catalog.append(polib.POEntry(msgid=text.text, **plural))
    catalog.save(str(path), newline="\n")
