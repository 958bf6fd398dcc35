"""What the admin's templates ask of the studio."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from api.studio import dashboard as figures

register = template.Library()


@register.simple_tag
def dashboard() -> dict[str, object]:
    return figures.dashboard()


@register.filter
def labelled(cells: Sequence[SafeString], headers: Sequence[Mapping[str, Any]]) -> Iterator[SafeString]:
    """A row's cells, which Django has rendered, each with its column's heading; not the box that chooses the row."""
    for place, cell in enumerate(cells):
        header = headers[place] if place < len(headers) else {}
        if "action-checkbox" in cell or not header.get("text"):
            yield cell
        else:
            label = format_html('<{} data-label="{}"', mark_safe(cell[1:3]), capfirst(header["text"]))  # noqa: S308  ("td" or "th")
            yield mark_safe(label + cell[3:])  # noqa: S308
