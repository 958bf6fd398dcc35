"""The texts that are marked for translation, in Python and in templates: what GNU's xgettext would find, on machines without it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.template import engines
from django.template.base import Node, VariableNode
from django.template.defaulttags import IfNode
from django.templatetags.i18n import BlockTranslateNode, TranslateNode

from api.studio.sentences import layout_reasons

FUNCTIONS = {"_": 1, "ngettext": 2, **dict.fromkeys(("gettext", "gettext_lazy", "gettext_noop"), 1), "ngettext_lazy": 2}
"""How many of the first arguments are texts."""
SOURCES = ("api", "config")


@dataclass(frozen=True)
class Text:
    """`plural`: empty where there is one form alone."""

    text: str
    plural: str = ""


def find_texts(root: Path) -> dict[Text, str]:
    """Each with the file in which it is first."""
    found: dict[Text, str] = {}
    for path in python_files(root):
        for text in texts_of_python(path.read_text()):
            found.setdefault(text, path.relative_to(root).as_posix())
    for sentence in layout_reasons():
        found.setdefault(Text(sentence), "api/scoring/backends/measures.py")
    for path in sorted((root / "templates").rglob("*.html")):
        for text in texts_of_template(path.read_text()):
            found.setdefault(text, path.relative_to(root).as_posix())
    return found


def python_files(root: Path) -> list[Path]:
    return sorted(path for folder in SOURCES for path in (root / folder).rglob("*.py"))


def texts_of_python(source: str) -> Iterator[Text]:
    """Nothing of files that do not import gettext: their `_` is another."""
    if "django.utils.translation" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            texts = [one.value for one in node.args[: FUNCTIONS[node.func.id]] if isinstance(one, ast.Constant)]
            if texts and all(isinstance(text, str) for text in texts):
                yield Text(*map(str, texts))


def texts_of_template(source: str) -> Iterator[Text]:
    engine: Any = engines["django"]
    for node in nodes_of(engine.from_string(source).template.nodelist):
        if isinstance(node, BlockTranslateNode):
            plural = node.render_token_list(node.plural)[0] if node.plural else ""
            yield Text(node.render_token_list(node.singular)[0], plural)
        elif isinstance(node, TranslateNode) and isinstance(node.filter_expression.var, str):
            yield Text(node.filter_expression.var)
        elif isinstance(node, TranslateNode) and isinstance(literal := node.filter_expression.var.literal, str):
            yield Text(literal)
        elif isinstance(node, VariableNode) and getattr(node.filter_expression.var, "translate", False):
            yield Text(str(node.filter_expression.var.literal))


def nodes_of(nodes: Any) -> Iterator[Node]:
    """All of them, however deep."""
    for node in nodes:
        yield node
        inner = [part for _condition, part in node.conditions_nodelists] if isinstance(node, IfNode) else children(node)
        for part in inner:
            yield from nodes_of(part)


def children(node: Node) -> list[Any]:
    return [part for name in node.child_nodelists if (part := getattr(node, name, None))]
