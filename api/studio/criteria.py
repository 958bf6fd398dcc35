"""By what the best pictures can be told here, in words for people."""

from django.utils.translation import gettext as _

from api.images.candidates import CRITERIA
from api.images.ranking import DEFAULT
from api.runtime.judge_registry import kind_of
from api.scoring.taste.scorers import PREFIX
from api.scoring.taste.serving import judges_on_offer


def criteria() -> list[tuple[str, str]]:
    """Values with their words, the default first, which is left to the server; the scorers that were trained here last."""
    others = [(name, str(words)) for name, words in CRITERIA.items() if name != DEFAULT and not kind_of(name).missing()]
    trained = [(f"{PREFIX}{name}", _("my taste: %(name)s") % {"name": name}) for name in judges_on_offer()]
    return [("", str(CRITERIA[DEFAULT])), *others, *trained]
