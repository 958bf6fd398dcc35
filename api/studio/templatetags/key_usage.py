"""What a key has used, on its page in the admin."""

from django import template

from api.access.models import ApiKey
from api.jobs.usage_report import OwnerUse, use_of_owner

register = template.Library()


@register.simple_tag
def use_of_key(key: ApiKey) -> OwnerUse:
    return use_of_owner(key.prefix)


@register.filter
def grouped(number: int) -> str:
    return f"{number:,}"
