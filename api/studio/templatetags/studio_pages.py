"""The list of the studio's pages, for its templates."""

from django import template

from api.studio.pages import PAGES, Page

register = template.Library()


@register.simple_tag
def studio_pages() -> tuple[Page, ...]:
    return PAGES
