"""What the admin's templates ask of the studio."""

from django import template

from api.studio import dashboard as figures

register = template.Library()


@register.simple_tag
def dashboard() -> dict[str, object]:
    return figures.dashboard()
