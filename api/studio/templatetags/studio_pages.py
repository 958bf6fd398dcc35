"""What every page of the studio shows: the list of the pages, the languages, the server's sentences in the page's language."""

from collections.abc import Sequence

from django import template
from django.conf import settings

from api.studio.pages import PAGES, Page
from api.studio.sentences import in_language

register = template.Library()


@register.simple_tag
def studio_pages() -> tuple[Page, ...]:
    return PAGES


@register.simple_tag
def studio_languages() -> Sequence[tuple[str, str]]:
    """Codes, and the languages' own names."""
    return settings.LANGUAGES


register.filter("in_language", in_language)
