"""The list of the studio's pages, for its templates."""

from django import template

from api.studio.pages import PAGES, Page

register = template.Library()


@register.filter
def covers(page: Page, path: str) -> bool:
    """Whether this address is the page's, or below it."""
    return path == page.address or (page.address != "/" and path.startswith(page.address))


@register.simple_tag
def studio_pages() -> tuple[Page, ...]:
    return PAGES
