"""The studio's pages, in the order in which every page's navigation and help list them."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Page:
    title: Promise
    url_name: str
    key: str
    """Leads there from every page; one letter, no page's own."""
    what: Promise
    """What is done there, in the list of keys."""

    @property
    def address(self) -> str:
        return reverse(self.url_name)


PAGES = (
    Page(_("Make"), "studio", "m", _("make a picture")),
    Page(_("Edit"), "studio-edit", "e", _("edit a picture")),
    Page(_("Gallery"), "studio-gallery", "g", _("gallery")),
    Page(_("Compare"), "studio-compare", "c", _("compare pictures")),
    Page(_("Chat"), "studio-chat", "h", _("chat")),
    Page(_("Look"), "studio-look", "l", _("look at a picture: layout, things, text, hazards")),
    Page(_("Queue"), "studio-queue", "q", _("the queue and the machines")),
    Page(_("Usage"), "studio-usage", "u", _("what was used, and what the limits leave")),
)
