"""What the studio's templates ask: its pages, who looks at them, the languages, the server's sentences in the page's language."""

from collections.abc import Sequence
from typing import Any

from django import template
from django.conf import settings

from api.jobs.kinds import title_of
from api.studio.pages import PAGES, Page
from api.studio.people import Person, person_of
from api.studio.sentences import in_language

register = template.Library()


@register.filter
def covers(page: Page, path: str) -> bool:
    """Whether this address is the page's, or below it."""
    return path == page.address or (page.address != "/" and path.startswith(page.address))


@register.simple_tag
def studio_pages() -> tuple[Page, ...]:
    return PAGES


@register.simple_tag(takes_context=True)
def studio_person(context: dict[str, Any]) -> Person | None:
    return person_of(context.get("request"))


@register.simple_tag(takes_context=True)
def may_submit(context: dict[str, Any]) -> bool:
    """Whether buttons that make or change something are of any use. A stream, which renders without a request, says so itself."""
    if "may_submit" in context:
        return bool(context["may_submit"])
    person = person_of(context.get("request"))
    return person is not None and person.may_submit


@register.simple_tag
def studio_languages() -> Sequence[tuple[str, str]]:
    """Codes, and the languages' own names."""
    return settings.LANGUAGES


register.filter("in_language", in_language)
register.filter("kind_title", title_of)
