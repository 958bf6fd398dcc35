"""A model's answer as HTML. It is hostile input: markdown-it writes no HTML of the answer's own, and nh3 keeps a list of tags."""

import html
from functools import lru_cache

import nh3
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, gettext
from markdown_it import MarkdownIt

TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "strong",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
LONGEST = 200_000
"""Longer answers stay plain text."""
CACHED = 128

parser = MarkdownIt("js-default", {"html": False, "breaks": True}).disable("image")
"""No picture of another server is ever loaded: `![words](address)` is a link."""


def render_markdown(text: str) -> SafeString:
    return render(text, get_language() or "")


@lru_cache(CACHED)
def render(text: str, language: str) -> SafeString:
    if len(text) > LONGEST:
        return mark_safe(f'<pre tabindex="0">{html.escape(text)}</pre>')  # noqa: S308
    clean = nh3.clean(
        parser.render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    button = f'<button class="plain small" type="button" data-copy>{html.escape(gettext("Copy"))}</button>'
    clean = clean.replace("<pre>", f'<div class="code">{button}<pre tabindex="0">').replace("</pre>", "</pre></div>")
    table = '<div class="wide" tabindex="0"><table>'
    return mark_safe(clean.replace("<table>", table).replace("</table>", "</table></div>"))  # noqa: S308
