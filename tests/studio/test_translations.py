"""The studio's languages: what is marked is translated, what people read is marked, and what is not a page stays English."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest
import rest_framework.fields
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.template.base import Lexer, TokenType
from django.test import Client
from django.utils.translation import override

from api.studio.marked_texts import FUNCTIONS, Text, find_texts
from api.studio.sentences import SENTENCES, in_language
from config.languages import CATALOG, catalogs, compile_catalogs, faults, find_languages
from tests.live import ROOT

TEMPLATES = [*(ROOT / "templates" / "studio").rglob("*.html"), *(ROOT / "templates" / "images").glob("*.html")]
TEMPLATES.append(ROOT / "templates" / "error.html")
SCRIPTS = [path for path in (ROOT / "api/studio/static/studio").rglob("*.js") if "vendor" not in path.parts]
PYTHON = [
    path for path in (ROOT / "api/studio").rglob("*.py") if path.name not in ("dashboard.py", "charts.py", "translations.py")
]
NAMES = {"Darkroom", "API", "drk", "Ctrl", "Shift", "Enter", "Del", "Esc"}
READ = {"title", "alt", "placeholder", "aria-label"}
"""Attributes that people read or hear."""
WORD = re.compile(r"[A-Za-z]{2,}")
GEOMETRY = re.compile(r'\b(?:[xyr]|[xy][12]|c[xy]|points|d|viewBox|transform|min|max|step)="[^"]*?{{ ([^}]*?) }}')


# ---------------------------------------------------------------- every text is translated


@pytest.mark.parametrize("catalog", catalogs(ROOT / "locale"), ids=lambda path: path.parents[1].name)
def test_every_marked_text_has_a_translation(catalog: Path) -> None:
    """`manage.py translations CODE` writes those that are missing into the file."""
    entries = {Text(entry.msgid, entry.msgid_plural): entry for entry in polib.pofile(str(catalog))}
    texts = find_texts(ROOT)
    missing = [f"{place}: {text.text}" for text, place in texts.items() if text not in entries]
    assert missing == []
    assert [f"{entry.msgid}: {wrong}" for entry in entries.values() if (wrong := faults(entry))] == []
    assert [text.text for text in entries if text not in texts] == []


def test_texts_are_found_in_python_and_in_templates() -> None:
    texts = find_texts(ROOT)
    assert Text("Newest first") in texts  # gettext_lazy
    assert Text("%(count)d picture was deleted.", "%(count)d pictures were deleted.") in texts  # ngettext
    assert Text("Say what the picture shows…") in texts  # translate
    assert Text("%(more)s more is under way", "%(more)s more are under way") in texts  # blocktranslate with a plural
    assert Text("No picture is like that.") in texts  # within conditions


# ---------------------------------------------------------------- every text is marked


class Words(HTMLParser):
    """What is written in a page and not marked: in its text, and in attributes that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.open.append((tag, named.get("lang") == "en" or "data-prompt" in named))
        if not any(excused for _tag, excused in self.open):
            self.found += [
                value for name, value in attrs if (name in READ or name.startswith("data-text")) and said(value or "")
            ]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not any(excused or tag in ("script", "style") for tag, excused in self.open) and said(data):
            self.found.append(data.strip())


def said(text: str) -> bool:
    return any(word not in NAMES for word in WORD.findall(text))


def unmarked(source: str) -> list[str]:
    words = Words()
    words.feed("".join(pieces(source)))
    return words.found


def pieces(source: str) -> Iterator[str]:
    """The template's own HTML, without its tags and what is between those of `blocktranslate`."""
    inside = False
    for token in Lexer(source).tokenize():
        if token.token_type == TokenType.BLOCK:
            inside = token.contents.startswith("blocktranslate") or (
                inside and not token.contents.startswith("endblocktranslate")
            )
        elif token.token_type == TokenType.TEXT and not inside:
            yield token.contents


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT / "templates").as_posix())
def test_templates_have_no_unmarked_text(path: Path) -> None:
    assert unmarked(path.read_text()) == []


def test_unmarked_text_would_be_found() -> None:
    assert unmarked('<p title="Wide">{% if a %}more <b>pictures</b>{% endif %}</p>') == ["Wide", "more", "pictures"]
    assert (
        unmarked('{% translate "x" %}<kbd>Ctrl</kbd>{% blocktranslate %}words{% endblocktranslate %}<i lang="en">words</i>')
        == []
    )


SHOWN = re.compile(
    r"""(?:textContent|innerText|title|placeholder|label|ariaLabel)\s*[=:]\s*["'`][A-Za-z]{2}
    |notify\(\s*["'`]|setAttribute\("(?:aria-label|title|placeholder)",\s*["'`][A-Za-z]|["'`][A-Z][a-z]+\s[a-z]+\s""",
    re.VERBOSE,
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_have_no_words(path: Path) -> None:
    """They read them from the page (texts.js)."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith(("//", "/*", "*"))]
    assert [line for line in lines if SHOWN.search(line)] == []
    used = set(re.findall(r'\btext\("(\w+)"', "\n".join(lines)))
    offered = "\n".join(template.read_text() for template in TEMPLATES)
    attributes = {"data-" + re.sub("([A-Z])", r"-\1", name).lower() + "=" for name in used}
    assert {attribute for attribute in attributes if attribute not in offered} == set()


def sentences_of(source: str) -> Iterator[str]:
    """Strings of several words that begin with a capital letter and are neither documentation nor marked."""
    tree = ast.parse(source)
    excused = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            excused |= {id(argument) for argument in node.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in excused and re.match(r"[A-Z][a-z]+ [a-z]+", str(node.value)):
            yield node.value


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(ROOT / "api/studio").as_posix())
def test_python_has_no_unmarked_sentence(path: Path) -> None:
    assert list(sentences_of(path.read_text())) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT / "templates").as_posix())
def test_numbers_of_drawings_are_not_localized(path: Path) -> None:
    """`cx="12,5"` is no number: where a language has a decimal comma, SVG and inputs need `|unlocalize`."""
    localized = re.sub(r"{% localize off %}.*?{% endlocalize %}", "", path.read_text(), flags=re.S)
    found = GEOMETRY.findall(localized)
    assert [one for one in found if "unlocalize" not in one and not one.startswith("input.")] == []


# ---------------------------------------------------------------- sentences that the server raises


def test_the_servers_sentences_are_still_said() -> None:
    source = " ".join(path.read_text() for path in (ROOT / "api").rglob("*.py") if path.name != "sentences.py")
    source += (ROOT / "templates/403_csrf.html").read_text() + Path(rest_framework.fields.__file__).read_text()
    titles = ("Bad Request", "Forbidden", "Not Found", "Internal Server Error", "Service Unavailable", "Insufficient Storage")
    parts = [part for one in SENTENCES if one not in titles for part in re.split(r"%\(\w+\)s", one)]
    assert [part for part in parts if part not in source] == []


def test_a_sentence_is_told_in_the_pages_language_and_others_as_they_are() -> None:
    sentence = "Must be a multiple of 8 from 64 to 2048; 96 and 104 are the nearest."
    assert in_language(sentence) == sentence
    with override("vi"):
        assert in_language(sentence) == "Phải là bội số của 8 trong khoảng từ 64 đến 2048; gần nhất là 96 và 104."
        assert in_language("Nobody knows this one.") == "Nobody knows this one."
        assert in_language(f"Unknown here. {sentence}").startswith("Unknown here. Phải là")


# ---------------------------------------------------------------- who gets which language


@pytest.mark.parametrize(
    ("header", "cookie", "language"),
    [
        ("", "", "en"),
        ("vi", "", "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", "", "vi"),
        ("fr", "", "en"),
        ("vi", "en", "en"),
        ("en", "vi", "vi"),
    ],
)
def test_the_browser_is_heard_and_a_choice_goes_before(here: Client, header: str, cookie: str, language: str) -> None:
    if cookie:
        here.cookies[settings.LANGUAGE_COOKIE_NAME] = cookie
    reply = here.get("/studio/gallery/", headers={"accept-language": header})
    assert f'<html lang="{language}"' in reply.content.decode()
    assert reply["Content-Language"] == language


def test_the_switch_keeps_the_choice_and_goes_back(here: Client) -> None:
    reply = here.post("/studio/language", {"language": "vi", "next": "/studio/gallery/?q=lake"})
    assert reply.headers["Location"] == "/studio/gallery/?q=lake"
    page = here.get("/studio/gallery/?q=lake").content.decode()
    assert '<html lang="vi"' in page
    assert "Thư viện" in page
    here.post("/studio/language", {"language": "../../etc", "next": "https://example.com/"})
    assert '<html lang="vi"' in here.get("/").content.decode()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/api/txt2img/", {"prompt": "", "width": 100, "steps": "many"}),
        ("get", "/api/jobs/?status=gone", None),
        ("get", "/nowhere/", None),
        ("get", "/api/images/0197c0de-0000-7000-8000-000000000000/", None),
        ("post", "/v1/images/generations", {"prompt": ""}),
        ("post", "/sdapi/v1/txt2img", {"prompt": "a lake", "steps": "many"}),
        ("post", "/hf/text-to-image", {"inputs": ""}),
        ("get", "/api/schema/", None),
        ("get", "/admin/login/", None),
    ],
)
def test_the_api_speaks_english_whatever_the_browser_says(here: Client, method: str, path: str, body: object) -> None:
    """Also behind a page in Vietnamese: Django keeps a language for the thread or the connection."""

    def ask() -> tuple[int, str]:
        reply = getattr(here, method)(path, *([body] if body else []), content_type="application/json")
        return reply.status_code, re.sub(r'(csrfmiddlewaretoken" value|nonce)="[^"]*"', "", reply.content.decode())

    english = ask()
    here.cookies[settings.LANGUAGE_COOKIE_NAME] = "vi"
    here.defaults["HTTP_ACCEPT_LANGUAGE"] = "vi"
    assert '<html lang="vi"' in here.get("/").content.decode()
    assert ask() == english


def test_a_page_that_is_not_there_says_so_in_its_language(here: Client) -> None:
    here.defaults["HTTP_ACCEPT_LANGUAGE"] = "vi"
    page = here.get("/studio/nowhere/").content.decode()
    assert '<html lang="vi"' in page
    assert "There is nothing" not in page


# ---------------------------------------------------------------- another language is another file


def write_catalog(folder: Path, name: str, text: str) -> Path:
    path = folder / name / CATALOG
    path.parent.mkdir(parents=True)
    path.write_text(f'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n{text}', encoding="utf-8")
    return path


def test_a_file_is_a_language_and_what_would_break_a_page_stays_english(tmp_path: Path) -> None:
    texts = 'msgid "Make"\nmsgstr "Faire"\n\nmsgid "{count} chosen"\nmsgstr "{nombre} choisis"\n\nmsgid "Fit"\nmsgstr "<b>"\n'
    catalog = write_catalog(tmp_path / "locale", "pt_BR", texts)
    assert find_languages(tmp_path / "locale")[-1] == ("pt-br", "Português Brasileiro")
    compiled = compile_catalogs(tmp_path / "locale", tmp_path / "made")
    entries = polib.mofile(str(compiled / "pt_BR" / CATALOG.with_suffix(".mo")))
    assert [(entry.msgid, entry.msgstr) for entry in entries] == [("Make", "Faire")]
    catalog.write_text(catalog.read_text().replace("Faire", "Fazer"), encoding="utf-8")
    assert compile_catalogs(tmp_path / "locale", tmp_path / "made") != compiled
    catalog.write_text("Make = Faire", encoding="utf-8")
    with pytest.raises(ImproperlyConfigured, match=r"django\.po can't be read"):
        compile_catalogs(tmp_path / "locale", tmp_path / "made")


def test_the_command_makes_a_file_with_all_texts_and_names_what_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "api.studio.management.commands.translations.find_texts", lambda root: {Text("Make"): "a.py", Text("1", "2"): "b"}
    )
    monkeypatch.setattr(settings, "BASE_DIR", tmp_path)
    call_command("translations", "fr")
    assert "fr: a.py: 'Make' is not translated" in capsys.readouterr().out
    catalog = polib.pofile(str(tmp_path / "locale/fr" / CATALOG))
    assert "nplurals" in catalog.metadata["Plural-Forms"]
    catalog.find("Make").msgstr = "Faire"
    catalog.save()
    with pytest.raises(CommandError, match="1 texts"):
        call_command("translations")
    assert "Make" not in capsys.readouterr().out
